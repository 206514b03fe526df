-- Write what a stretch of the log changed in a shard, with the position behind it: all of it or nothing.
-- KEYS: meta, cuts, bases, the keys of tables that change, the keys of new cuts
-- ARGV: owner, base, next, schema, head, changes (msgpack), the bytes of all runs of each table with changed rows, then for
--   each new cut: serial, '1' if it is a base, the cut
-- changes: for each key of a table {'r', offsets, lengths, which ARGV}, {'i', {row, id, ...}, rows to free} or {'t', texts}
local meta = redis.call('HMGET', KEYS[1], 'owner', 'next')
local stored = meta[2] or '0'
if meta[1] ~= ARGV[1] then return {'fenced', stored} end
if stored == ARGV[3] then return {'ok', stored} end -- my own write, sent again after a lost reply
if stored ~= ARGV[2] then return {'moved', stored} end

-- A full Redis refuses a script at its first write only, and only if that may need memory (HDEL does not): this one does.
-- The mark is taken away by the last write. Redis 6.2 can replay the first half of a script: what its append-only file was cut
-- off in is kept there as the beginning of a transaction, and executed with the next one after another restart.
local torn = 'torn:' .. ARGV[3]
redis.call('HSET', KEYS[1], 'schema', ARGV[4], torn, '1')

local MANY = 4000 -- unpack fails from about 8,000 values on
local function call(command, key, values)
  for at = 1, #values, MANY do
    redis.call(command, key, unpack(values, at, math.min(at + MANY - 1, #values)))
  end
end

local changes = cmsgpack.unpack(ARGV[6])
for i = 1, #changes do
  local key, kind, first, second, at = KEYS[i + 3], unpack(changes[i])
  if kind == 'r' then
    local from = 1
    for k = 1, #first do
      redis.call('SETRANGE', key, first[k], string.sub(ARGV[at], from, from + second[k] - 1))
      from = from + second[k]
    end
  elseif kind == 'i' then
    call('HSET', key, first)
    call('HDEL', key, second)
  else
    call('RPUSH', key, first)
  end
end
local serial
for i = #changes + 4, #KEYS do
  local at = #ARGV - 3 * (#KEYS - i) - 2
  serial = ARGV[at]
  redis.call('SET', KEYS[i], ARGV[at + 2])
  redis.call('ZADD', KEYS[2], serial, serial)
  if ARGV[at + 1] == '1' then redis.call('ZADD', KEYS[3], serial, serial) end
end
redis.call('HSET', KEYS[1], 'next', ARGV[3], 'head', ARGV[5])
if serial then redis.call('HSET', KEYS[1], 'serial', serial) end
redis.call('HDEL', KEYS[1], torn)
return {'ok', ARGV[3]}
