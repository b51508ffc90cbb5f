-- Gives each record the name of its dataset and its raw line in `message`, and parts lists of events that stand in one line.
--
-- Fluent Bit's Lua reads no JSON, so lists are parted as text: the elements of {"Records": […]}, {"records": […]},
-- {"events": […]} and […] are found by counting brackets outside of texts, and stay as they are, large numbers too. Azure's
-- flow tuples are not parted here: use `sigmawatch ingest`, Vector or Logstash for those.

local topics = {
  Logins = "auth.sshd",
  Firewall = "firewall.paloalto",
  IDS = "ids.suricata",
  WebLog = "web.nginx",
}

-- Returns the elements of the JSON list that begins at s[at] and where it ends, or nil.
local function elements(s, at)
  local found, depth, from, inside = {}, 0, nil, false
  local i = at
  while i <= #s do
    local c = s:sub(i, i)
    if inside then
      if c == "\\" then i = i + 1 elseif c == '"' then inside = false end
    elseif c == '"' then
      inside = true
      if depth == 1 and not from then from = i end
    elseif c == "[" or c == "{" then
      if depth == 1 and not from then from = i end
      depth = depth + 1
    elseif c == "]" or c == "}" then
      depth = depth - 1
      if depth == 0 then
        if from then found[#found + 1] = s:sub(from, i - 1) end
        return found, i
      end
    elseif c == "," and depth == 1 then
      if from then found[#found + 1] = s:sub(from, i - 1) end
      from = nil
    elseif depth == 1 and not from and not c:match("%s") then
      from = i
    end
    i = i + 1
  end
  return nil
end

-- Returns the events of a line that holds a list of them and nothing else, or nil.
local function parts(line)
  local at, closing = line:match("^%s*()%["), ""
  if not at then
    local name
    name, at = line:match('^%s*{%s*"(%a+)"%s*:%s*()%[')
    if not at or not (name == "Records" or name == "records" or name == "events") then return nil end
    closing = "}"
  end
  local found, last = elements(line, at)
  if not found or #found == 0 or not line:sub(last + 1):match("^%s*" .. closing .. "%s*$") then return nil end
  return found
end

function records(tag, timestamp, record)
  local line = record.message or record.payload or record.log
  local dataset = tag
  if tag == "kafka" then dataset = topics[record.topic] or "unknown.log" end
  if type(line) ~= "string" then return 0, timestamp, record end
  local made = {}
  for _, part in ipairs(parts(line) or { line }) do
    local one = { message = part, dataset = dataset }
    if record.log_file then one.log = { file = { path = record.log_file } } end
    if record.log_source then one.log = { source = { address = record.log_source } } end
    made[#made + 1] = one
  end
  return 1, timestamp, made
end
