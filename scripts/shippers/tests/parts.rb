# Calls the filter of split_records.rb for each line of JSON, as Logstash's ruby filter does for each event.
require "json"
load ARGV[0]

# Stands in for Logstash's event.
class StandInEvent
  def initialize(fields)
    @fields = fields
  end

  def get(name)
    @fields[name]
  end

  def set(name, value)
    @fields[name] = value
  end

  def clone
    StandInEvent.new(@fields.dup)
  end
end

$stdin.each_line do |line|
  events = filter(StandInEvent.new("message" => JSON.parse(line).first, "beside" => "kept"))
  raise "lost a field" unless events.all? { |event| event.get("beside") == "kept" }

  puts JSON.generate(events.map { |event| event.get("message") })
end
