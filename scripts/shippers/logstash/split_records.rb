# Parts an event of Logstash whose message holds several: {"Records": […]}, {"records": […]}, {"events": […]}, a list;
# and of Azure's flow logs makes one for each tuple, with the record around it. Everything else passes as it is.
require "json"

WRAPPING = %w[Records records events].freeze

# The ways to lists of tuples: keys of lists within lists.
TUPLES = [
  ["properties", %w[flows flows flowTuples]],
  ["flowRecords", %w[flows flowGroups flowTuples]]
].freeze

def register(_params); end

def filter(event)
  message = event.get("message")
  return [event] unless message.is_a?(String) && message.lstrip.start_with?("{", "[")

  records = records_of(JSON.parse(message))
  return [event] if records.nil? || records.empty?

  records.flat_map { |record| tuples_of(record) }.map do |part|
    one = event.clone
    one.set("message", part.is_a?(String) ? part : JSON.generate(part))
    one
  end
rescue JSON::ParserError, JSON::NestingError
  [event] # damaged: the pipeline marks it
end

def records_of(parsed)
  return parsed if parsed.is_a?(Array)
  return nil unless parsed.is_a?(Hash) && parsed.size == 1 && WRAPPING.include?(parsed.keys.first)

  list = parsed.values.first
  list if list.is_a?(Array)
end

def tuples_of(record)
  TUPLES.each do |key, way|
    next unless record.is_a?(Hash) && record[key].is_a?(Hash)

    parts = each_of(record[key], way)
    return parts.map { |part| record.merge(key => part) } unless parts.empty?
  end
  [record]
end

# The object once for each element of the lists on the way, each list replaced by its one element.
def each_of(object, way)
  return [object] if way.empty?
  return [] unless object.is_a?(Hash) && object[way.first].is_a?(Array)

  object[way.first].flat_map do |element|
    each_of(element, way.drop(1)).map { |part| object.merge(way.first => part) }
  end
end
