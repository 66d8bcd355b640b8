# A Rails side: subscribes to a stream as ActionCable's servers do, and prints what it hears.
# Usage: ruby action_cable.rb REDIS_URL CHANNEL_PREFIX STREAM
require 'logger'
require 'active_support/all'
require 'action_cable'

$stdout.sync = true
url, prefix, stream = ARGV
server = ActionCable.server
server.config.logger = Logger.new($stderr)
server.config.cable = { 'adapter' => 'redis', 'url' => url, 'channel_prefix' => prefix }.with_indifferent_access
# What `stream_from stream, coder: ActiveSupport::JSON` does with each message of the adapter.
heard = ->(message) { puts "heard #{ActiveSupport::JSON.decode(message).to_json}" }
server.pubsub.subscribe(stream, heard, -> { puts 'subscribed' })
sleep
