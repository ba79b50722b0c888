-- What wrk sends and tells: one token after another, and its figures in a form to be read.
-- Arguments: a file of tokens, one a line; an empty line is a request without one. What follows a
-- token and a space is added to the path.

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
