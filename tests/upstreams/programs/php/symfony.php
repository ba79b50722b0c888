<?php
// Symfony's router and kernel, as its front controller runs them.

require 'Symfony/Component/Routing/autoload.php';
require 'Symfony/Component/HttpFoundation/autoload.php';
require 'Symfony/Component/HttpKernel/autoload.php';
require 'Symfony/Component/EventDispatcher/autoload.php';
require __DIR__ . '/answer.php';

use Symfony\Component\EventDispatcher\EventDispatcher;
use Symfony\Component\HttpFoundation\RedirectResponse;
use Symfony\Component\HttpFoundation\Request;
use Symfony\Component\HttpFoundation\RequestStack;
use Symfony\Component\HttpFoundation\Response;
use Symfony\Component\HttpKernel\Controller\ControllerResolver;
use Symfony\Component\HttpKernel\EventListener\RouterListener;
use Symfony\Component\HttpKernel\HttpKernel;
use Symfony\Component\HttpKernel\Kernel;
use Symfony\Component\Routing\Matcher\RedirectableUrlMatcherInterface;
use Symfony\Component\Routing\Matcher\UrlMatcher;
use Symfony\Component\Routing\RequestContext;
use Symfony\Component\Routing\Route;
use Symfony\Component\Routing\RouteCollection;
use Symfony\Component\HttpKernel\Exception\HttpExceptionInterface;

// The framework's matcher sends a redirect where only a trailing slash differs; this is its like.
class Matcher extends Symfony\Component\Routing\Matcher\RedirectableUrlMatcher
{
    public function redirect(string $path, string $route, string $scheme = null): array
    {
        return ['_controller' => fn () => new RedirectResponse($path, 308), '_route' => $route];
    }
}

$collection = new RouteCollection();
$version = 'Symfony ' . Kernel::VERSION;
foreach (routes() as $route) {
    $pattern = rewrite($route['path'], '{rest}');
    $controller = function (Request $request) use ($route, $pattern, $version) {
        $params = $request->attributes->get('_route_params');
        return new Response('', 200, answer($route, $pattern, $version, $params));
    };
    $requirements = str_ends_with($pattern, '{rest}') ? ['rest' => '.+'] : [];
    $collection->add($route['name'], new Route(
        $pattern, ['_controller' => $controller], $requirements, ['utf8' => true], '', [],
        $route['method'] ? [$route['method']] : []
    ));
}

Request::enableHttpMethodParameterOverride(); // framework.http_method_override was true until 7
$request = Request::createFromGlobals();
$context = new RequestContext();
$stack = new RequestStack();
$dispatcher = new EventDispatcher();
$dispatcher->addSubscriber(new RouterListener(new Matcher($collection, $context), $stack, $context));
$kernel = new HttpKernel($dispatcher, new ControllerResolver(), $stack);
try {
    $kernel->handle($request)->send();
} catch (HttpExceptionInterface $error) {
    http_response_code($error->getStatusCode());
}
