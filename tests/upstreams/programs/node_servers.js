// Express, Koa, Fastify and hapi as their documentation shows them.
// node node_servers.js SERVER PORT ROUTES, with the packages in NODE_PATH.
const [, , server, port, text] = process.argv
const routes = JSON.parse(text)
const METHODS = ['GET', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS']

function packageVersion (name) {
  const fs = require('fs')
  const path = require('path')
  const file = path.join(process.env.NODE_PATH, name, 'package.json')
  return `${name.replace(/^express[0-9]/, 'express')} ${JSON.parse(fs.readFileSync(file)).version}`
}

function rewrite (path, one, tail) {
  const out = path.replace(/\{(\w+)\}/g, one)
  return out.endsWith('*') ? out.slice(0, -1) + tail : out
}

function answer (route, pattern, version, params) {
  const pairs = Object.entries(params || {}).map(([k, v]) => [k, Array.isArray(v) ? v.join('/') : String(v)])
  return {
    'x-handler': route.name,
    'x-pattern': new URLSearchParams({ p: pattern }).toString().slice(2),
    'x-version': version,
    'x-params': new URLSearchParams(pairs).toString()
  }
}

function express (name, tail, overriding) {
  const make = require(name)
  let version = packageVersion(name)
  const app = make()
  if (overriding) {
    const override = require('method-override')
    version += `, ${packageVersion('method-override')}`
    app.use(override())
    app.use(override('_method'))
  }
  for (const route of routes) {
    const pattern = rewrite(route.path, ':$1', tail)
    app[(route.method || 'all').toLowerCase()](pattern, (request, response) => {
      response.set(answer(route, pattern, version, request.params)).end()
    })
  }
  app.listen(port, '127.0.0.1')
}

// Handlers mounted by prefix: app.use() is how guards and routers of a whole subtree are written.
function mounted (name) {
  const make = require(name)
  const version = packageVersion(name)
  const app = make()
  for (const route of routes) {
    const pattern = rewrite(route.path, ':$1', '').replace(/\/$/, '')
    const run = (request, response) => {
      response.set(answer(route, pattern, version, { ...request.params, rest: request.url })).end()
    }
    if (route.path.endsWith('*')) app.use(pattern, run)
    else app[(route.method || 'all').toLowerCase()](pattern, run)
  }
  app.listen(port, '127.0.0.1')
}

function koa () {
  const Koa = require('koa')
  const { Router } = require('@koa/router')
  const version = `${packageVersion('koa')}, ${packageVersion('@koa/router')}`
  const app = new Koa()
  const router = new Router()
  for (const route of routes) {
    const pattern = rewrite(route.path, ':$1', '{*rest}')
    router[(route.method || 'all').toLowerCase()](pattern, (context) => {
      context.set(answer(route, pattern, version, context.params))
      context.body = ''
    })
  }
  app.use(router.routes()).use(router.allowedMethods())
  app.listen(port, '127.0.0.1')
}

function fastify () {
  const app = require('fastify')()
  const version = packageVersion('fastify')
  for (const route of routes) {
    const pattern = rewrite(route.path, ':$1', '*')
    const handler = (request, reply) => {
      reply.headers(answer(route, pattern, version, request.params)).send('')
    }
    if (route.method) app.route({ method: route.method, url: pattern, handler })
    else app.all(pattern, handler)
  }
  app.listen({ port: Number(port), host: '127.0.0.1' })
}

async function hapi () {
  const app = require('@hapi/hapi').server({ port: Number(port), host: '127.0.0.1' })
  const version = packageVersion('@hapi/hapi')
  for (const route of routes) {
    const pattern = rewrite(route.path, '{$1}', '{rest*}')
    if (/[^ -~]/.test(pattern)) continue // hapi takes ASCII only
    app.route({
      method: route.method || '*',
      path: pattern,
      handler: (request, h) => {
        const response = h.response('')
        for (const [name, value] of Object.entries(answer(route, pattern, version, request.params))) {
          response.header(name, value)
        }
        return response
      }
    })
  }
  await app.start()
}

// A program of its own: new URL() and decodeURIComponent.
function url () {
  const compiled = routes.map((route) => ({
    ...route,
    pattern: '^' + rewrite(route.path.replace('.', '\\.'), '(?<$1>[^/]+)', '(?<rest>.+)') + '$'
  }))
  require('http').createServer((request, response) => {
    let path
    try {
      path = decodeURIComponent(new URL(request.url, 'http://upstream').pathname)
    } catch {
      return response.writeHead(400).end()
    }
    for (const route of compiled) {
      const found = new RegExp(route.pattern).exec(path)
      if (found && (!route.method || route.method === request.method)) {
        const version = `Node.js ${process.versions.node}'s URL`
        return response.writeHead(200, answer(route, route.pattern, version, found.groups)).end()
      }
    }
    response.writeHead(404).end()
  }).listen(port, '127.0.0.1')
}

const servers = {
  'node-url': url,
  express4: () => express('express4', '*'),
  express5: () => express('express', '*rest'),
  'express5-method-override': () => express('express', '*rest', true),
  'express5-mounted': () => mounted('express'),
  koa,
  fastify,
  hapi
}
servers[server]()
