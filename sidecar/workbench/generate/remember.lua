-- Remembers, for a second or so, which requests the sidecar has allowed, so that Envoy does not ask again.
--
-- This file is part of the security boundary (docs/remember.md). `generate envoy --remember` writes it into two of
-- Envoy's Lua filters, which share their state (shared_vm_id): one directly before ext_authz, one directly after the
-- second lock, for requests that the sidecar was asked about and that Envoy passes on. A few lines before it depend on
-- the configuration:
--
--   LONGEST   how long an allow may be remembered at most, in milliseconds
--   COVERS    a digest of KEY and REMOVED: the sidecar permits nothing unless it is the digest of its own
--   KEY       the headers that decide, pseudo-headers first
--   REMOVED   the headers that no client may send to the Basic Server; Envoy has removed them, except those in KEY
--   WITHHELD  the headers in KEY that the Basic Server does not get
--
-- Envoy runs one copy of this in each worker thread, one function at a time, and shares nothing between them. An error
-- ends the function; Envoy then goes on with ext_authz, which asks the sidecar.
--
-- luacheck: read globals LONGEST COVERS KEY REMOVED WITHHELD
-- luacheck: globals envoy_on_request

local ANSWER = "envoy.filters.http.ext_authz" -- where Envoy writes the metadata of the sidecar's answer
local QUESTION = "zervi.question" -- metadata that ext_authz sends to the sidecar
-- Filter state, which only these two filters write. Envoy skips ext_authz and the second lock for a request that has
-- MEMORY. ASKED says that a request has passed the first filter: the number of its question, or NONE.
local MEMORY, ASKED, NONE = "zervi.remember", "zervi.asked", "0"
local TEXT = "envoy.string" -- Envoy's kind of filter state that holds a text

-- Bounds, per worker. Two generations of requests, and the questions that wait for an answer.
local MAX_ENTRIES = 4096 -- of one generation: ten thousand different requests a second still find their last one
local MAX_BYTES = 4194304 -- of one generation: keys and identity headers
local MAX_KEY = 4096 -- bytes of one key; a longer token is asked about each time
local MAX_WAITING = 512 -- questions without an answer yet; older ones are not remembered
local MAX_ROUTES = 32 -- routes whose counts one question carries
local MAX_IDENTITY = 40 -- headers that an entry sets
local AHEAD = 0.1 -- of an entry's time: in its last tenth one request asks, so that not all of them must at its end
local ENTRY_BYTES = 400 -- of an entry's tables and numbers, beside its texts

local young, old = {}, {} -- key -> entry; `young` becomes `old` when it is full, or LONGEST old
local entries, bytes = 0, 0 -- of `young`
local turns_at = 0 -- when `young` is LONGEST old
local waiting, asked = {}, 0 -- the questions without an answer yet, by number; how many were asked
local latest = 0 -- the last time that the clock showed
local counts = {} -- route -> requests answered from memory since the last question that named it

-- Begins a generation: `old` is dropped.
local function turn()
  young, old = {}, young
  entries, bytes = 0, 0
end

local parts = {} -- of a key, before they are joined; one table for all requests, since none is read while another is

-- Returns the key of a request, nil for one that must be asked about. Two requests have the same key only if all that
-- decides is the same: a part is a header's length and its text, or "-" without the header.
local function key_of(headers)
  for index = 1, #KEY do
    local name = KEY[index]
    local value = headers:get(name) -- Envoy joins several values with commas
    if not value then
      parts[index] = "-"
    elseif name ~= ":path" and string.find(value, ",", 1, true) then
      return nil -- one value, or several that another server may read differently
    else
      parts[index] = #value .. ":" .. value
    end
  end
  local key = table.concat(parts, "", 1, #KEY)
  return #key <= MAX_KEY and key or nil
end

-- Says whether an allow of this method may be remembered: OPTIONS may be a preflight, CONNECT opens a tunnel.
local function may_remember(method)
  return method ~= "OPTIONS" and method ~= "CONNECT"
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

-- Returns the entry for an answer of the sidecar, nil unless it permits one; `at` is when it was asked.
local function entry_of(answer, at)
  if not answer or (answer.reason ~= "ok" and answer.reason ~= "public") then -- not an allow
    return nil
  end
  local permitted, given, route = answer.remember_ms, answer.identity, answer.route
  local usable = type(permitted) == "number" and permitted > 0 and type(route) == "string"
  if not usable then
    return nil
  end
  local identity, size = {}, ENTRY_BYTES
  for name, value in pairs(given or {}) do
    if not REMOVED[name] or type(value) ~= "string" or value == "" then
      return nil
    end
    identity[#identity + 1], identity[#identity + 2] = name, value
    size = size + #name + #value
  end
  if #identity > 2 * MAX_IDENTITY then
    return nil
  end
  -- What the access log shows. It begins with "reason=", which Envoy compares.
  local shown = "reason=%s route=%s decision_id=%s subject=%s"
  shown = shown:format(answer.reason, route, tostring(answer.decision_id), tostring(answer.subject or ""))
  local time = math.min(permitted, LONGEST)
  return {
    ends = at + time, -- from the time of the question: the answer cannot be older
    asks_at = at + time * (1 - AHEAD),
    identity = identity,
    repeats = 0,
    route = route,
    shown = shown,
    size = size + #shown,
  }
end

-- Remembers what the sidecar answered to a question: Envoy has applied the answer and passes the request on.
local function learn(info, number)
  local place = number % MAX_WAITING
  local asking = waiting[place]
  if not asking or asking.number ~= number then
    return -- not to be remembered, or too many questions came after it
  end
  waiting[place] = nil
  local entry = entry_of(info:dynamicMetadata():get(ANSWER), asking.at)
  if not entry then
    return
  end
  local former = young[asking.key] or old[asking.key]
  if former then
    entry.repeats = former.repeats -- since the question: the next one tells them
  end
  local size = entry.size + #asking.key
  if entries >= MAX_ENTRIES or bytes + size > MAX_BYTES then
    turn()
  end
  young[asking.key] = entry
  entries, bytes = entries + 1, bytes + size
end

function envoy_on_request(handle)
  local info = handle:streamInfo()
  local state = info:filterState()
  local number = state:get(ASKED)
  if number then -- this is the second filter
    learn(info, tonumber(number))
    return
  end
  local now = handle:timestamp() -- milliseconds of the wall clock
  if now < latest then -- the clock was set back: no age is known, so everything is forgotten
    waiting, turns_at = {}, now - LONGEST
  end
  latest = now
  if now >= turns_at then -- the time of every entry in `old` is over: Envoy keeps no token longer than it must
    turn()
    if now >= turns_at + LONGEST then -- the time of the others too
      turn()
    end
    turns_at = now + LONGEST
  end
  local headers = handle:headers()
  local key = may_remember(headers:get(":method")) and key_of(headers)
  if not key then -- ask, and remember nothing
    state:set(ASKED, TEXT, NONE)
    return
  end
  local entry = young[key] or old[key]
  if entry and now < entry.asks_at then
    -- The request becomes what the sidecar's answer would make of it.
    for index = 1, #WITHHELD do
      headers:remove(WITHHELD[index])
    end
    -- Envoy has removed a client's own copies, before all filters.
    local identity = entry.identity
    for index = 1, #identity, 2 do
      headers:add(identity[index], identity[index + 1])
    end
    entry.repeats = entry.repeats + 1
    counts[entry.route] = (counts[entry.route] or 0) + 1
    -- Last, so that an error above leaves a request that is asked about.
    state:set(MEMORY, TEXT, entry.shown)
    return
  end
  -- Ask, and note what was asked until the second filter can read the answer.
  local repeats = 0
  if entry then
    repeats, entry.repeats = entry.repeats, 0
    entry.asks_at = entry.ends -- the others are answered from memory meanwhile
  end
  asked = asked + 1
  waiting[asked % MAX_WAITING] = { number = asked, key = key, at = now }
  local question = { covers = COVERS, longest = LONGEST, repeats = repeats, routes = told() }
  info:dynamicMetadata():set(QUESTION, "asks", question)
  state:set(ASKED, TEXT, tostring(asked))
end
