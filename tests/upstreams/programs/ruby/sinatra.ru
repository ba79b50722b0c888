# Sinatra as its documentation shows it.
require 'json'
require 'uri'
require 'sinatra/base'

class Upstream < Sinatra::Base
  set :environment, :production
  enable :method_override
  disable :protection
  JSON.parse(ENV.fetch('UPSTREAM_ROUTES')).each do |route|
    pattern = route['path'].gsub(/\{(\w+)\}/, ':\1')
    methods = route['method'].empty? ? %w[GET HEAD POST PUT DELETE OPTIONS] : [route['method']]
    methods.each do |method|
      send(:route, method, pattern) do
        headers 'x-handler' => route['name'],
                'x-pattern' => URI.encode_www_form_component(pattern),
                'x-version' => "Sinatra #{Sinatra::VERSION}, Puma #{Puma::Const::VERSION}",
                'x-params' => URI.encode_www_form(params.reject { |name, _| name.start_with?('_', '.', ' ') })
        ''
      end
    end
  end
end

run Upstream
