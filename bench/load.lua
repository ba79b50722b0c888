-- Requests of wrk with one token after another; prints the figures in a form that is easy to parse.
-- Argument: a file with one token per line; an empty line is a request without a token. Text after
-- a token and a space is appended to the path.

local requests = {}
local turn = 0

function init(args)
  local path = wrk.path
  for line in io.lines(args[1]) do
    local token, more = line:match("^(%S*) ?(.*)$")
    local headers = {}
    if token ~= "" then
      headers["Authorization"] = "Bearer " .. token
    end
    requests[#requests + 1] = wrk.format("GET", path .. more, headers)
  end
end

function request()
  turn = turn % #requests + 1
  return requests[turn]
end

function done(summary, latency)
  local errors = summary.errors
  io.write(string.format(
    "\nRESULT %d %d %d %d %d %d\n",
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(99),
    errors.status, errors.connect + errors.read + errors.write + errors.timeout))
end
