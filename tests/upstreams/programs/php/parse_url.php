<?php
// A program of its own: parse_url and rawurldecode.

require __DIR__ . '/answer.php';

$path = rawurldecode(parse_url($_SERVER['REQUEST_URI'], PHP_URL_PATH) ?: '');
foreach (routes() as $route) {
    $pattern = '#^' . preg_replace('/\\\\\{(\w+)\\\\\}/', '(?<$1>[^/]+)', preg_quote($route['path'], '#')) . '$#D';
    $pattern = str_replace('\\*$', '(?<rest>.+)$', $pattern);
    if (preg_match($pattern, $path, $found) && in_array($route['method'], ['', $_SERVER['REQUEST_METHOD']])) {
        $params = array_filter($found, 'is_string', ARRAY_FILTER_USE_KEY);
        foreach (answer($route, $pattern, 'parse_url', $params) as $name => $value) {
            header("$name: $value");
        }
        exit;
    }
}
http_response_code(404);
