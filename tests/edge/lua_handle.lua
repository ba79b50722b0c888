-- A stand-in for Envoy's handle of a request or a response: the calls that remember.lua makes, and nothing else.

local raw_pairs = pairs

function pairs(value) -- Envoy's headers have `pairs`, as in Lua 5.2
  local meta = getmetatable(value)
  if meta and meta.__pairs then
    return meta.__pairs(value)
  end
  return raw_pairs(value)
end

local Headers = {}
Headers.__index = Headers

function Headers.__pairs(self)
  local index = 0
  return function()
    index = index + 1
    local header = self.list[index]
    if header then
      return header[1], header[2]
    end
  end
end

function Headers:get(name)
  for _, header in ipairs(self.list) do
    if header[1] == name then
      return header[2]
    end
  end
end

function Headers:remove(name)
  local left = {}
  for _, header in ipairs(self.list) do
    if header[1] ~= name then
      left[#left + 1] = header
    end
  end
  self.list = left
end

function Headers:add(name, value)
  self.list[#self.list + 1] = { name, value }
end

-- `list` has the headers as pairs; `metadata` the dynamic metadata of the stream, by namespace.
function new_handle(list, metadata, now)
  local headers = setmetatable({ list = list }, Headers)
  local dynamic = {}
  function dynamic.get(_, namespace)
    return metadata[namespace]
  end
  function dynamic.set(_, namespace, key, value)
    metadata[namespace] = metadata[namespace] or {}
    metadata[namespace][key] = value
  end
  local info = {}
  function info.dynamicMetadata()
    return dynamic
  end
  local handle = {}
  function handle.headers()
    return headers
  end
  function handle.streamInfo()
    return info
  end
  function handle.timestamp()
    return now
  end
  return handle
end
