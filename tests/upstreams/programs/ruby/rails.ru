# The router of Rails with the middleware that reads _method, as a new application has it.
require 'json'
require 'uri'
require 'action_controller'
require 'action_dispatch'

ROUTES = ActionDispatch::Routing::RouteSet.new
ROUTES.draw do
  JSON.parse(ENV.fetch('UPSTREAM_ROUTES')).each do |route|
    pattern = route['path'].gsub(/\{(\w+)\}/, ':\1').sub(/\*\z/, '*rest')
    handler = lambda do |env|
      params = env['action_dispatch.request.path_parameters'].except(:controller, :action)
      [200, {
        'x-handler' => route['name'],
        'x-pattern' => URI.encode_www_form_component(pattern),
        'x-version' => "Rails #{ActionPack.version}, Puma #{Puma::Const::VERSION}",
        'x-params' => URI.encode_www_form(params)
      }, []]
    end
    match pattern, to: handler, via: route['method'].empty? ? :all : route['method'].downcase.to_sym
  end
end

use Rack::MethodOverride
use Rack::Head
run ROUTES
