<?php
// What both front controllers share: the routes, and a handler's answer.

function routes(): array
{
    return json_decode($_SERVER['UPSTREAM_ROUTES'], true);
}

function rewrite(string $path, string $tail): string
{
    return preg_replace('/\*$/', $tail, $path);
}

function answer(array $route, string $pattern, string $version, array $params): array
{
    return [
        'x-handler' => $route['name'],
        'x-pattern' => urlencode($pattern),
        'x-version' => $version . ', PHP ' . PHP_VERSION . ', ' . $_SERVER['SERVER_SOFTWARE'],
        'x-params' => http_build_query($params),
    ];
}
