-- A stand-in for Envoy's handle of a request: the calls that remember.lua makes, and nothing else.

local Headers = {}
Headers.__index = Headers

function Headers:get(name) -- Envoy joins several values
  local values = {}
  for _, header in ipairs(self.list) do
    if header[1] == name then
      values[#values + 1] = header[2]
    end
  end
  return values[1] and table.concat(values, ",")
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

-- `list` has the headers as pairs; `metadata` the dynamic metadata of the stream, by namespace; `texts` its filter
-- state, by key.
function new_handle(list, metadata, texts, now)
  local headers = setmetatable({ list = list }, Headers)
  local dynamic = {}
  function dynamic.get(_, namespace)
    return metadata[namespace]
  end
  function dynamic.set(_, namespace, key, value)
    metadata[namespace] = metadata[namespace] or {}
    metadata[namespace][key] = value
  end
  local state = {}
  function state.get(_, key)
    return texts[key]
  end
  function state.set(_, key, kind, value)
    assert(kind == "envoy.string" and type(value) == "string" and texts[key] == nil)
    texts[key] = value
  end
  local info = {}
  function info.filterState()
    return state
  end
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
