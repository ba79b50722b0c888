<?php
// Laravel's router, with the method override that its HTTP kernel enables.

require 'Illuminate/Routing/autoload.php';
require 'Illuminate/Http/autoload.php';
require 'Illuminate/Events/autoload.php';
require 'Illuminate/Container/autoload.php';
require __DIR__ . '/answer.php';

use Illuminate\Container\Container;
use Illuminate\Events\Dispatcher;
use Illuminate\Http\Request;
use Illuminate\Http\Response;
use Illuminate\Routing\Router;
use Symfony\Component\HttpKernel\Exception\HttpExceptionInterface;

$router = new Router(new Dispatcher(), new Container());
$version = 'Laravel 8 (illuminate/routing of Debian)';
foreach (routes() as $route) {
    $pattern = rewrite($route['path'], '{rest}');
    $run = function () use ($router, $route, $pattern, $version) {
        $params = $router->current()->parameters();
        return new Response('', 200, answer($route, $pattern, $version, $params));
    };
    $added = $route['method'] ? $router->match([$route['method']], $pattern, $run) : $router->any($pattern, $run);
    if (str_ends_with($pattern, '{rest}')) {
        $added->where('rest', '.*');
    }
}

Request::enableHttpMethodParameterOverride();
try {
    $router->dispatch(Request::capture())->send();
} catch (HttpExceptionInterface $error) {
    http_response_code($error->getStatusCode());
}
