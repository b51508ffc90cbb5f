-- Calls the filter of records.lua for each line of standard input, as Fluent Bit does for each record: in hexadecimal, since a
-- message may hold line feeds. Writes tag, message and whether it is the only one of its kind, of each record in a line.
dofile(arg[1])

local function decoded(text) return (text:gsub("..", function(two) return string.char(tonumber(two, 16)) end)) end
local function encoded(text) return (text:gsub(".", function(one) return string.format("%02x", one:byte()) end)) end

for line in io.lines() do
  local tag, message = line:match("^(%S+) (%x*)$")
  local code, _, made = records(tag, 0, { message = decoded(message) })
  assert(code == 1)
  for _, record in ipairs(made) do
    io.write(record.dataset, ":", encoded(record.message), ":", record.fluent_bit.sequence, " ")
  end
  io.write("\n")
end
