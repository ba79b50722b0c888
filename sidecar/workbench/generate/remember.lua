-- Remembers, for a second or so, which requests the sidecar has allowed, so that Envoy does not ask again.
--
-- This file is part of the security boundary (docs/remember.md). `generate envoy --remember` writes it into Envoy's Lua
-- filter, directly before ext_authz, after a few lines that set:
--
--   LONGEST  how long an allow may be remembered at most, in milliseconds
--   COVERS   a digest of KEY and REMOVED: the sidecar permits nothing unless it is the digest of its own
--   KEY      the headers that decide, with a number each; pseudo-headers are among them
--   REMOVED  the headers that no client may send to the Basic Server
--
-- Envoy runs one copy of this in each worker thread, one function at a time, and shares nothing between them. An error
-- ends the function; Envoy then goes on with ext_authz, which asks the sidecar.
--
-- luacheck: read globals LONGEST COVERS KEY REMOVED
-- luacheck: globals envoy_on_request envoy_on_response

local ANSWER = "envoy.filters.http.ext_authz" -- where Envoy writes the metadata of the sidecar's answer
local QUESTION = "zervi.question" -- what this filter tells the sidecar; ext_authz sends it along
local MEMORY = "zervi.remember" -- only this filter writes here; ext_authz and the second lock read it

-- Bounds, per worker. Two generations of requests, and the questions that wait for an answer.
local MAX_ENTRIES = 4096 -- of one generation: ten thousand different requests a second still find their last one
local MAX_BYTES = 4194304 -- of one generation: keys and identity headers
local MAX_KEY = 4096 -- bytes of one key; a longer token is asked about each time
local MAX_WAITING = 512 -- questions whose responses have not begun; older ones are not remembered
local MAX_ROUTES = 32 -- routes whose counts one question carries
local MAX_NAMES = 1000 -- header names that are known to be ordinary
-- A request near Envoy's own limits on headers is asked about, so that the limits apply to what the sidecar adds.
local MAX_HEADERS = 50
local MAX_HEADER_BYTES = 32768
local MAX_IDENTITY = 40 -- headers that an entry sets
local ENTRY_BYTES = 400 -- of an entry's tables and numbers, beside its texts

-- Nearly all of this file calls Envoy, which LuaJIT cannot compile: trying to costs more than it saves.
if jit then
  jit.off()
end

local young, old = {}, {} -- key -> entry; `young` becomes `old` when it is full
local entries, bytes = 0, 0 -- of `young`
local waiting, asked = {}, 0 -- the questions without a response yet, by number; how many were asked
local open, last_asked = 0, 0 -- how many may be waiting; when the last one was asked
local latest = 0 -- the last time that the clock showed
local counts = {} -- route -> requests answered from memory since the last question that named it

-- What is known of header names: the number of a header that decides; else true for one to remove, false for any other
-- with an ordinary name. `others` counts the last ones: a client can invent any number of names.
local kinds, others

-- Begins with the names of the configuration.
local function forget_names()
  kinds, others = {}, 0
  for name in pairs(REMOVED) do
    kinds[name] = true
  end
  for name, number in pairs(KEY) do
    kinds[name] = number
  end
end

forget_names()

-- Forgets everything that was allowed.
local function forget()
  young, old, waiting = {}, {}, {}
  entries, bytes, open = 0, 0, 0
end

-- Returns what a header of this name is, nil for a name with odd characters. Many servers read other spellings
-- (x.user.id) as a protected name (x-user-id); the sidecar finds and removes them.
local function kind_of(name)
  if not string.find(name, "^[a-z0-9:-]+$") then
    return nil
  end
  if others >= MAX_NAMES then
    forget_names()
  end
  kinds[name], others = false, others + 1
  return false
end

local parts = {} -- of a key, before they are joined; one table for all requests, since none is read while another is

-- Reads a request. Returns its key, and the protected headers that it has (nil: none). Returns nil for a request that
-- must be asked about.
local function read(headers)
  local length, size, count, total, sent = 0, 0, 0, 0, nil
  for name, value in pairs(headers) do -- each value of each header, in the order of arrival
    count, total = count + 1, total + #name + #value
    local kind = kinds[name]
    if kind == nil then
      kind = kind_of(name)
    end
    if kind then
      if kind ~= true then -- a header that decides
        -- A number, a length and as many bytes: two different requests never have the same key.
        parts[length + 1], parts[length + 2], parts[length + 3] = kind, #value, value
        length, size = length + 3, size + #value
        if name == ":method" and (value == "OPTIONS" or value == "CONNECT") then -- preflights; tunnels
          return nil
        end
      end
      if REMOVED[name] then
        sent = sent or {}
        sent[#sent + 1] = name
      end
    elseif kind == nil then
      return nil
    end
  end
  if size > MAX_KEY or count > MAX_HEADERS or total > MAX_HEADER_BYTES then
    return nil
  end
  return table.concat(parts, ":", 1, length), sent
end

-- Returns the counts to tell the sidecar, at most MAX_ROUTES of them (nil: none), and forgets them.
local function told()
  local some, left = nil, MAX_ROUTES
  for route, count in pairs(counts) do
    if left == 0 then
      break
    end
    some = some or {}
    some[route], counts[route], left = count, nil, left - 1
  end
  return some
end

function envoy_on_request(handle)
  local now = handle:timestamp() -- milliseconds of the wall clock
  if now < latest then -- the clock was set back: how old entries are is unknown
    forget()
  end
  latest = now
  if open > 0 and now - last_asked > LONGEST then -- no answer to them would be remembered
    waiting, open = {}, 0
  end
  local headers = handle:headers()
  local key, sent = read(headers)
  if not key then
    return -- ext_authz asks; nothing is remembered
  end
  local entry = young[key] or old[key]
  if entry and now < entry.ends then
    -- The request becomes what the sidecar's answer would make of it: first without any protected header ...
    if sent then
      for index = 1, #sent do
        headers:remove(sent[index])
      end
    end
    -- ... then with the caller's identity. All of its names are protected ones, so none is there twice.
    local identity = entry.identity
    for index = 1, #identity, 2 do
      headers:add(identity[index], identity[index + 1])
    end
    entry.repeats = entry.repeats + 1
    counts[entry.route] = (counts[entry.route] or 0) + 1
    -- Last, so that an error above leaves a request that is asked about. ext_authz does not ask about a request that
    -- has this, and the second lock passes it.
    handle:streamInfo():dynamicMetadata():set(MEMORY, "allow", entry.allow)
    return
  end
  -- Ask, and note what was asked until the response begins: only then the answer can be read.
  local repeats = 0
  if entry then
    repeats, entry.repeats = entry.repeats, 0
  end
  asked, open, last_asked = asked + 1, open + 1, now
  waiting[asked % MAX_WAITING] = { number = asked, key = key, at = now }
  local question = { number = asked, covers = COVERS, longest = LONGEST, repeats = repeats, routes = told() }
  handle:streamInfo():dynamicMetadata():set(QUESTION, "asks", question)
end

-- Returns the entry for an answer of the sidecar, nil unless it permits one.
local function entry_of(answer, at)
  if not answer or (answer.reason ~= "ok" and answer.reason ~= "public") then -- not an allow
    return nil
  end
  local permitted, given = answer.remember_ms, answer.identity
  local usable = type(permitted) == "number" and permitted > 0 and type(answer.route) == "string"
  if not usable then
    return nil
  end
  local identity, size = {}, ENTRY_BYTES
  for name, value in pairs(given or {}) do
    -- Only protected headers are set: a client's own copy of these was removed before.
    if not REMOVED[name] or type(value) ~= "string" or value == "" then
      return nil
    end
    identity[#identity + 1], identity[#identity + 2] = name, value
    size = size + #name + #value
  end
  if #identity > 2 * MAX_IDENTITY then
    return nil
  end
  return {
    ends = at + math.min(permitted, LONGEST), -- from the time of the question: the answer cannot be older
    identity = identity,
    repeats = 0,
    route = answer.route,
    size = size,
    allow = { -- what the access log shows, and what the second lock compares
      reason = answer.reason,
      route = answer.route,
      subject = answer.subject,
      decision_id = answer.decision_id,
    },
  }
end

function envoy_on_response(handle)
  if open == 0 then
    return -- most often: nothing was asked
  end
  local metadata = handle:streamInfo():dynamicMetadata()
  local question = metadata:get(QUESTION)
  if not question then
    return -- answered from memory, or not to be remembered
  end
  local number = question.asks.number
  local place = number % MAX_WAITING
  local asking = waiting[place]
  if not asking or asking.number ~= number then
    return -- too many questions came after it
  end
  waiting[place], open = nil, open - 1
  -- After an allow Envoy itself may still refuse the request, with an error: because of too many headers, or a header
  -- that the answer may not set. Such an allow is not remembered; a gRPC client gets the error in `grpc-status`.
  local headers = handle:headers()
  local status = tonumber(headers:get(":status"))
  if not status or status >= 400 or headers:get("grpc-status") then
    return
  end
  local entry = entry_of(metadata:get(ANSWER), asking.at)
  if not entry then
    return
  end
  local size = entry.size + #asking.key
  if entries >= MAX_ENTRIES or bytes + size > MAX_BYTES then
    old, young, entries, bytes = young, {}, 0, 0
  end
  young[asking.key] = entry
  entries, bytes = entries + 1, bytes + size
end
