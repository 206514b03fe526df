-- Claim a shard (or only read it) and return all of it, as of one moment.
-- KEYS: meta, then rows, ids and texts of its tables
-- ARGV: the new owner's token ('': only read), the schema, one letter for each key behind meta: r(ows), i(ds), t(exts)
local meta = redis.call('HMGET', KEYS[1], 'schema', 'owner', 'next', 'head')
if meta[1] and meta[1] ~= ARGV[2] then return {'schema', meta[1]} end
if ARGV[1] ~= '' then
  redis.call('HSET', KEYS[1], 'owner', ARGV[1])
  meta[2] = ARGV[1]
end
for _, field in ipairs(redis.call('HKEYS', KEYS[1])) do
  if string.sub(field, 1, 5) == 'torn:' then return {'torn', field} end
end
if not meta[3] then return {'none', meta[2] or ''} end
local reply = {'ok', meta[2] or '', meta[3], meta[4]}
for i = 2, #KEYS do
  local kind = string.sub(ARGV[3], i - 1, i - 1)
  if kind == 'r' then
    reply[i + 3] = redis.call('GET', KEYS[i]) or ''
  elseif kind == 'i' then -- one packed string: a reply of 100,000 elements takes the client ten times as long
    reply[i + 3] = cmsgpack.pack(redis.call('HGETALL', KEYS[i]))
  else
    reply[i + 3] = cmsgpack.pack(redis.call('LRANGE', KEYS[i], 0, -1))
  end
end
return reply
