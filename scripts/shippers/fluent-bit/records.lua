-- Gives each record the name of its dataset and its raw line in `message`, and parts lists of events that stand in one line.
--
-- Fluent Bit's Lua reads no JSON, so all is done on the text, by counting brackets outside of texts: what is parted stays
-- letter by letter as it was, large numbers too.
--
--   {"Records": […]}, {"records": […]}, {"events": […]}, {"Findings": […]}, […]     one event an element
--   {"detail": {"findings": […]}, …}                                                Security Hub by EventBridge
--   properties.flows[].flows[].flowTuples[], flowRecords.flows[].flowGroups[].flowTuples[]
--                                              Azure's flow logs: one event a tuple, with the record around it

local topics = {
  Logins = "auth.sshd",
  Firewall = "firewall.paloalto",
  IDS = "ids.suricata",
  WebLog = "web.nginx",
  AzureFlow = "flow.azure_nsg",
}

local wrapping = { Records = true, records = true, events = true, Findings = true }

local tuples = {
  { "properties", "flows", "flows", "flowTuples" },
  { "flowRecords", "flows", "flowGroups", "flowTuples" },
}

local sshd = { ["sshd"] = true, ["sshd-session"] = true, ["sshd-auth"] = true }

-- The program in the header of a line of syslog, or nil: not what stands further on, which anybody can write.
local function program(line)
  return line:match("^%u%l%l +%d+ [%d:.]+ %S+ ([%w-]+)[:%[]") or line:match("^%d%d%d%d%-%S+ %S+ ([%w-]+)[:%[]")
end

-- Where the value that begins at s[at] ends, or nil.
local function value_end(s, at)
  local c = s:sub(at, at)
  if c == '"' then
    local i = at + 1
    while true do
      i = s:find('["\\]', i)
      if not i then return nil end
      if s:sub(i, i) == '"' then return i end
      i = i + 2
    end
  elseif c == "{" or c == "[" then
    local i, depth = at, 0
    while true do
      i = s:find('["%[%]{}]', i)
      if not i then return nil end
      c = s:sub(i, i)
      if c == '"' then
        i = value_end(s, i)
        if not i then return nil end
      elseif c == "{" or c == "[" then
        depth = depth + 1
      else
        depth = depth - 1
        if depth == 0 then return i end
      end
      i = i + 1
    end
  end
  local last = s:find("[,%]}%s]", at)
  return (last or #s + 1) - 1
end

-- The elements of the JSON list s; nil where it is none, or damaged.
local function elements(s)
  local found = {}
  local i = s:match("^%[%s*()")
  if not i then return nil end
  if s:find("^%]%s*$", i) then return found end
  while true do
    local last = value_end(s, i)
    if not last or last < i then return nil end
    found[#found + 1] = s:sub(i, last)
    local c, after = s:match("^%s*([,%]])%s*()", last + 1)
    if c == "]" then return after > #s and found or nil end
    if not c then return nil end
    i = after
  end
end

-- Where the value of a key of the JSON object s begins and ends, and how many keys the object has; nil where s is none.
local function member(s, key)
  local i = s:match("^{%s*()")
  if not i then return nil end
  local from, to, count = nil, nil, 0
  while s:sub(i, i) == '"' do
    local key_end = value_end(s, i)
    local start = key_end and s:match("^%s*:%s*()", key_end + 1)
    local last = start and value_end(s, start)
    if not last or last < start then return nil end
    count = count + 1
    if s:sub(i + 1, key_end - 1) == key then from, to = start, last end
    local c, after = s:match("^%s*([,}])%s*()", last + 1)
    if c == "}" then
      if after <= #s then return nil end
      return from, to, count
    end
    if not c then return nil end
    i = after
  end
  return nil
end

-- The text of an object once for each element of the lists on the way, each list replaced by its one element; as it is
-- where the way leads to nothing.
local function each_of(s, way, step)
  local from, to
  if way[step] then from, to = member(s, way[step]) end
  if not from then return { s } end
  local inner = s:sub(from, to)
  local list = elements(inner)
  if list and #list == 0 then return { s } end
  local made = {}
  for _, element in ipairs(list or { inner }) do
    for _, part in ipairs(each_of(element, way, step + 1)) do
      made[#made + 1] = s:sub(1, from - 1) .. part .. s:sub(to + 1)
    end
  end
  return made
end

-- The list of events that a line is or holds, or nil.
local function list_of(line)
  if line:find("^%[") then return elements(line) end
  for name in pairs(wrapping) do
    local from, to, count = member(line, name)
    if from and count == 1 then return elements(line:sub(from, to)) end
  end
  local from, to = member(line, "detail")
  if not from then return nil end
  local detail = line:sub(from, to)
  from, to = member(detail, "findings")
  return from and elements(detail:sub(from, to))
end

-- The events of a line that holds a list of them and nothing else; the line itself where it does not.
local function parts(line)
  local trimmed = line:match("^%s*([%[{].*[%]}])%s*$")
  local list = trimmed and list_of(trimmed)
  -- Lists of events are lists of objects.
  if not list or not list[1] or not list[1]:find("^{") then return { line } end
  for _, way in ipairs(tuples) do
    local made = {}
    for _, one in ipairs(list) do
      for _, part in ipairs(each_of(one, way, 1)) do made[#made + 1] = part end
    end
    list = made
  end
  return list
end

-- `generate_id` makes the id of the whole record: without a number of its own the second of two equal lines would be refused.
local started, sequence = os.time(), 0

function records(tag, timestamp, record)
  local line = record.message or record.payload or record.log
  local dataset = tag
  if tag == "kafka" then dataset = topics[record.topic] or "unknown.log" end
  if type(line) ~= "string" then return 0, timestamp, record end
  if dataset == "auth.linux" and sshd[program(line)] then dataset = "auth.sshd" end
  local made = {}
  for _, part in ipairs(parts(line)) do
    sequence = sequence + 1
    local one = { message = part, dataset = dataset, fluent_bit = { sequence = string.format("%d-%d", started, sequence) } }
    if record.log_file then one.log = { file = { path = record.log_file } } end
    if record.log_source then one.log = { source = { address = record.log_source } } end
    made[#made + 1] = one
  end
  return 1, timestamp, made
end
