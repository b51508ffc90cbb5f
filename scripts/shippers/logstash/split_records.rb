# Parts an event of Logstash whose message holds several: {"Records": […]}, {"records": […]}, {"events": […]}, {"Findings": […]},
# a list, Security Hub's {"detail": {"findings": […]}}; and of Azure's flow logs makes one for each tuple, with the record
# around it. Everything else passes as it is.
require "json"

WRAPPING = %w[Records records events Findings].freeze

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
  return [event] unless records.is_a?(Array) && records.first.is_a?(Hash) # lists of events are lists of objects

  records.flat_map { |record| tuples_of(record) }.map do |part|
    one = event.clone
    one.set("message", JSON.generate(part))
    one
  end
rescue JSON::ParserError, JSON::NestingError
  [event] # damaged: the pipeline marks it
end

def records_of(parsed)
  return parsed unless parsed.is_a?(Hash)
  return parsed.values.first if parsed.size == 1 && WRAPPING.include?(parsed.keys.first)

  parsed["detail"]["findings"] if parsed["detail"].is_a?(Hash)
end

def tuples_of(record)
  TUPLES.each do |key, way|
    next unless record.is_a?(Hash) && record[key].is_a?(Hash)

    return each_of(record[key], way).map { |part| record.merge(key => part) }
  end
  [record]
end

# The object once for each element of the lists on the way, each list replaced by its one element; as it is where the way
# leads to nothing.
def each_of(object, way)
  list = object[way.first] if object.is_a?(Hash) && !way.empty?
  return [object] unless list.is_a?(Array) && !list.empty?

  list.flat_map do |element|
    each_of(element, way.drop(1)).map { |part| object.merge(way.first => part) }
  end
end
