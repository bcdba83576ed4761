"""The steps as Lua, each run by the server at once. PROTOCOL's keys, all below the stream's own name:

    {stream}                     entries, field `data`         {base}:job:{id}       hash: what became of a job
    {base}:rlog:{id}             its frames, as <epoch>-<seq>  {base}:cancel:{id}    a flag
    {base}:workers               zset: when each last beat     {base}:worker:{name}  hash: what is said of it
    {base}:held:{name}           hash: entry -> request id     {base}:suspects       list: jobs that died together
    {base}:inflight:{client}     zset by deadline              {base}:idem:{client}:{key}
    {base}:inference_dead        stream: jobs given up         {base}:counters       hash

`base` is the stream that jobs without a model go to. A log's first entry of each epoch is `<epoch>-0`, a mark that
says which number comes next, so that a frame is refused where the one before it is missing: an old owner's, and one
whose log a restarted server has rolled back.
"""

from wire.redis.server import Step
from wire.steps import DEATHS, KEPT_MS

DAY_MS = 86_400_000  # the longest that a worker is waited for
# Not consumers: names under which entries wait in the group.
HANDED_BACK = "-handed-back"
SUSPECTS = "-suspects"

_TOOLS = f"""
local function now_ms()
  local t = redis.call('TIME')
  return t[1] * 1000 + math.floor(t[2] / 1000)
end
local function whole(n) return string.format('%.0f', n) end
local function count(base, what, by) redis.call('HINCRBY', base .. ':counters', what, by or 1) end
local function drop(stream, group, entry)
  redis.call('XACK', stream, group, entry)
  redis.call('XDEL', stream, entry)
end
local function follows(log, epoch, seq)
  local top = redis.call('XREVRANGE', log, '+', '-', 'COUNT', 1)[1]
  if not top then return false end
  if top[1] == epoch .. '-' .. whole(seq - 1) and seq > 1 then return true end
  return top[1] == epoch .. '-0' and top[2][1] == 'next' and top[2][2] == whole(seq)
end
local function settle(base, id, state)
  local job = base .. ':job:' .. id
  local client = redis.call('HGET', job, 'client')
  redis.call('HSET', job, 'done', '1', 'state', state)
  local kept = redis.call('HGET', job, 'kept') or {KEPT_MS}
  redis.call('PEXPIRE', job, kept)
  redis.call('PEXPIRE', base .. ':rlog:' .. id, kept)
  redis.call('DEL', base .. ':cancel:' .. id)
  if client and client ~= '' then redis.call('ZREM', base .. ':inflight:' .. client, id) end
end
-- An end that no worker wrote: for a job that is cancelled unbegun, or given up.
local function tell_end(base, id, final, state)
  local job, log = base .. ':job:' .. id, base .. ':rlog:' .. id
  local epoch = math.max(tonumber(redis.call('HGET', job, 'epoch') or '0') + 1, now_ms())
  local top = redis.call('XREVRANGE', log, '+', '-', 'COUNT', 1)[1]
  local seq = 1
  if top then
    seq = tonumber(string.match(top[1], '-(%d+)$')) + 1
    if seq == 1 then seq = tonumber(top[2][2]) end
  end
  redis.call('XADD', log, whole(epoch) .. '-0', 'next', whole(seq))
  redis.call('XADD', log, whole(epoch) .. '-' .. whole(seq), 'd', final)
  redis.call('HSET', job, 'epoch', whole(epoch))
  settle(base, id, state)
  redis.call('PUBLISH', 'result:' .. id, final)
end
local function bury(base, stream, group, entry, data, reason, id, final, who)
  -- Whole blocks go: up to a hundred more than 10 000 are kept.
  redis.call('XADD', base .. ':inference_dead', 'MAXLEN', '~', 10000, '*', 'data', data, 'reason', reason,
    'request_id', id or '', 'stream', stream, 'consumers', who,
    'failures', id and redis.call('HGET', base .. ':job:' .. id, 'failures') or '0')
  if id and id ~= '' then tell_end(base, id, final, 'dead') end
  drop(stream, group, entry)
  count(base, 'dead')
end
"""

# A worker's name goes from the group of each stream, or from none while a job is in it. `at`: where in ARGV they begin.
# What is said of it ends by itself: it may have been cut off only, see BEAT.
_GONE = """
local function forget(base, group, name, at)
  for i = at, #ARGV do
    local told = redis.pcall('XPENDING', ARGV[i], group, '-', '+', 1, name)
    if not told.err and #told > 0 then return 0 end
  end
  for i = at, #ARGV do redis.pcall('XGROUP', 'DELCONSUMER', ARGV[i], group, name) end
  redis.call('ZREM', base .. ':workers', name)
  redis.call('DEL', base .. ':held:' .. name)
  return 1
end
"""

# What was acknowledged and not deleted.
_TRIM = """
local function trim(stream, group)
  local pending = redis.pcall('XPENDING', stream, group)
  if pending.err then return 0 end
  local first = pending[2]
  if pending[1] == 0 then
    for _, one in ipairs(redis.call('XINFO', 'GROUPS', stream)) do
      if one[2] == group then
        local ms, n = string.match(one[8], '^(%d+)-(%d+)$')
        first = ms .. '-' .. string.format('%.0f', n + 1)
      end
    end
  end
  return redis.call('XTRIM', stream, 'MINID', first)
end
"""

# KEYS: stream, base, job. ARGV: id, data, client, idem, deadline, depth, quota, lease, ttl, how long a
# reader waits
ADMIT = Step(
    _TOOLS
    + """
local UNKNOWN_S = 5
local now, base, job = now_ms(), KEYS[2], KEYS[3]
local id, client = ARGV[1], ARGV[3]
if redis.call('EXISTS', job) == 1 then return {'ok', id, 0} end
local same = base .. ':idem:' .. client .. ':' .. ARGV[4]
if ARGV[4] ~= '' then
  local had = redis.call('GET', same)
  if had and redis.call('EXISTS', base .. ':job:' .. had) == 1 then return {'ok', had, 0} end
end
local deadline, depth = tonumber(ARGV[5]), redis.call('XLEN', KEYS[1])
local rate, slots, models = 0, 0, {}
local live = redis.call('ZRANGEBYSCORE', base .. ':workers', now - 2 * tonumber(ARGV[8]), '+inf')
for _, name in ipairs(live) do
  local told = redis.call('HMGET', base .. ':worker:' .. name, 'slots', 'mean_s', 'model')
  local n, mean, model = tonumber(told[1] or '0') or 0, tonumber(told[2] or '0') or 0, told[3] or ''
  if model ~= '' then models[#models + 1] = model end
  if KEYS[1] == base or KEYS[1] == base .. ':' .. model then
    -- Until its first job has ended nobody knows how fast a worker is.
    rate, slots = rate + n / (mean > 0 and mean or UNKNOWN_S), slots + n
  end
end
if #live > 0 and rate == 0 and KEYS[1] ~= base then return {'model', table.concat(models, ', ')} end
local function busy(why, wait_s)
  count(base, 'refused')
  return {'busy', why, whole(math.max(1, math.min(600, math.ceil(wait_s)))), whole(depth)}
end
-- Jobs under way are in the stream too: where a slot is free nobody waits.
local wait_s = rate > 0 and depth >= slots and depth / rate or 0
if tonumber(ARGV[6]) > 0 and depth >= tonumber(ARGV[6]) then return busy('depth', wait_s > 0 and wait_s / 2 or 5) end
local patience = 0.7 * math.min(deadline, tonumber(ARGV[10]))
if rate > 0 and wait_s * 1000 > patience then return busy('late', wait_s - 0.7 * patience / 1000) end
if client ~= '' then
  local mine = base .. ':inflight:' .. client
  redis.call('ZREMRANGEBYSCORE', mine, '-inf', now)
  if tonumber(ARGV[7]) > 0 and redis.call('ZCARD', mine) >= tonumber(ARGV[7]) then return busy('quota', 5) end
  redis.call('ZADD', mine, now + deadline, id)
  redis.call('PEXPIRE', mine, deadline + tonumber(ARGV[9]))
end
local ttl = deadline + tonumber(ARGV[9])
if ARGV[4] ~= '' then redis.call('SET', same, id, 'PX', ttl) end
local entry = redis.call('XADD', KEYS[1], '*', 'data', ARGV[2])
redis.call('HSET', job, 'state', 'queued', 'epoch', '0', 'client', client, 'deadline', whole(now + deadline),
  'stream', KEYS[1], 'entry', entry, 'kept', ARGV[9])
if ARGV[11] ~= '' then redis.call('HSET', job, 'hits', ARGV[11]) end
redis.call('PEXPIRE', job, ttl)
count(base, 'admitted')
return {'ok', id, 1}
"""
)

# KEYS: job, log. ARGV: where to begin
READ = Step("return {redis.call('EXISTS', KEYS[1]), redis.call('XRANGE', KEYS[2], ARGV[1], '+')}")

# KEYS: base, job. ARGV: group, id, final, ttl
CANCEL = Step(
    _TOOLS
    + """
local base, id = KEYS[1], ARGV[2]
local told = redis.call('HMGET', KEYS[2], 'state', 'stream', 'entry', 'done')
if not told[1] or told[4] then return 0 end
redis.call('SET', base .. ':cancel:' .. id, '1', 'PX', ARGV[4])
redis.call('PUBLISH', base .. ':ctl:cancel', id)
count(base, 'cancelled')
if told[1] == 'queued' then
  tell_end(base, id, ARGV[3], 'cancelled')
  drop(told[2], ARGV[1], told[3])
end
return 1
"""
)

# KEYS: stream, base, job, log. ARGV: group, consumer, entry, id, default deadline
START = Step(
    _TOOLS
    + f"""
local base, group, me, entry, id = KEYS[2], ARGV[1], ARGV[2], ARGV[3], ARGV[4]
if #redis.call('XPENDING', KEYS[1], group, entry, entry, 1, me) == 0 then return {{'lost'}} end
local now = now_ms()
local told = redis.call('HMGET', KEYS[3], 'done', 'epoch', 'deadline', 'entry')
if told[1] then
  drop(KEYS[1], group, entry)
  redis.call('HDEL', base .. ':held:' .. me, entry)
  return {{'done'}}
end
local deadline = tonumber(told[3])
if not deadline then
  deadline = tonumber(string.match(entry, '^(%d+)')) + tonumber(ARGV[5])
  redis.call('HSET', KEYS[3], 'deadline', whole(deadline), 'client', '')
end
local waited = math.max(0, now - tonumber(string.match(entry, '^(%d+)')))
local epoch = math.max((tonumber(told[2]) or 0) + 1, now)
local log = redis.call('XRANGE', KEYS[4], '-', '+')
local following = 1
for _, one in ipairs(log) do
  local seq = tonumber(string.match(one[1], '-(%d+)$'))
  if seq > 0 then following = seq + 1 end
end
redis.call('XADD', KEYS[4], whole(epoch) .. '-0', 'next', whole(following))
redis.call('HSET', KEYS[3], 'epoch', whole(epoch), 'state', 'running', 'owner', me, 'stream', KEYS[1], 'entry', entry)
redis.call('HSET', base .. ':held:' .. me, entry, id)
local ttl = math.max(0, deadline - now) + {KEPT_MS}
redis.call('PEXPIRE', KEYS[3], ttl)
redis.call('PEXPIRE', KEYS[4], ttl)
if (tonumber(told[2]) or 0) > 0 then count(base, 'reclaimed') end
local cancelled = redis.call('EXISTS', base .. ':cancel:' .. id) == 1
return {{cancelled and 'cancelled' or 'ours', whole(epoch), whole(deadline - now), log, whole(waited)}}
"""
)

# KEYS: the log of each frame. ARGV: of each its job's id, epoch, seq, data. Answers 1 or 0 for each.
APPEND = Step(
    _TOOLS
    + """
local function append(log, id, epoch, seq, data)
  local place = epoch .. '-' .. seq
  if not follows(log, epoch, tonumber(seq)) then
    local top = redis.call('XREVRANGE', log, '+', '-', 'COUNT', 1)[1]
    return top and top[1] == place and top[2][2] == data and 1 or 0
  end
  redis.call('XADD', log, place, 'd', data)
  redis.call('PUBLISH', 'result:' .. id, data)
  return 1
end
local kept = {}
for i, log in ipairs(KEYS) do kept[i] = append(log, unpack(ARGV, 4 * i - 3, 4 * i)) end
return kept
"""
)

# KEYS: stream, base, job, log. ARGV: group, consumer, entry, id, epoch, seq, final
FINISH = Step(
    _TOOLS
    + """
local base, id, epoch = KEYS[2], ARGV[4], ARGV[5]
local told = redis.call('HMGET', KEYS[3], 'epoch', 'done')
if told[1] ~= epoch then return 0 end
if not told[2] then
  if not follows(KEYS[4], epoch, tonumber(ARGV[6])) then return 0 end
  redis.call('XADD', KEYS[4], epoch .. '-' .. ARGV[6], 'd', ARGV[7])
  redis.call('PUBLISH', 'result:' .. id, ARGV[7])
  settle(base, id, 'done')
  count(base, 'finished')
end
drop(KEYS[1], ARGV[1], ARGV[3])
redis.call('HDEL', base .. ':held:' .. ARGV[2], ARGV[3])
return 1
"""
)

# Who is heard of again was cut off, not dead: what LOOK has counted against its job is taken back. (A process that
# starts again has another name; a job that only holds its workers up, for longer than a lease, ends by its deadline.)
# KEYS: base. ARGV: group, consumer, ttl, figures as JSON, then stream, entry, id of each that is held
BEAT = Step(
    _TOOLS
    + f"""
local base, group, me = KEYS[1], ARGV[1], ARGV[2]
local worker = base .. ':worker:' .. me
redis.call('ZADD', base .. ':workers', now_ms(), me)
for name, value in pairs(cjson.decode(ARGV[4])) do redis.call('HSET', worker, name, value) end
local blamed = redis.call('HGET', worker, 'blamed')
if blamed then
  local job = base .. ':job:' .. blamed
  if tonumber(redis.call('HGET', job, 'failures') or '0') > 0 then redis.call('HINCRBY', job, 'failures', -1) end
  redis.call('HDEL', worker, 'blamed')
end
redis.call('PEXPIRE', worker, ARGV[3])
redis.call('PEXPIRE', base .. ':held:' .. me, {DAY_MS})
local lost, cancelled = {{}}, {{}}
for i = 5, #ARGV, 3 do
  local stream, entry, id = ARGV[i], ARGV[i + 1], ARGV[i + 2]
  local mine = redis.pcall('XPENDING', stream, group, entry, entry, 1, me)
  if mine.err or #mine == 0 then
    lost[#lost + 1] = id
  else
    redis.call('XCLAIM', stream, group, me, 0, entry, 'JUSTID')
    if redis.call('EXISTS', base .. ':cancel:' .. id) == 1 then cancelled[#cancelled + 1] = id end
  end
end
return {{lost, cancelled}}
"""
)

# Behind what was told before: two messages of protobuf are one. A call that is repeated tells it once. KEYS: job.
# ARGV: field, data, most bytes
TELL = Step("""
if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
local had = redis.call('HGET', KEYS[1], ARGV[1]) or ''
if ARGV[2] ~= '' and string.sub(had, -#ARGV[2]) ~= ARGV[2] and #had + #ARGV[2] <= tonumber(ARGV[3]) then
  redis.call('HSET', KEYS[1], ARGV[1], had .. ARGV[2])
end
if redis.call('HGET', KEYS[1], 'done') then redis.call('HSET', KEYS[1], 'told', '1') end
return 1
""")

# KEYS: job. ARGV: field, most bytes
SPANS = Step("""
local told = redis.call('HMGET', KEYS[1], ARGV[1], 'done', 'told')
local data = told[1] or ''
if data ~= '' then redis.call('HSET', KEYS[1], ARGV[1], '') end
return {string.sub(data, 1, tonumber(ARGV[2])), told[2] and 1 or 0, told[3] and 1 or 0}
""")

# KEYS: stream, base. ARGV: group, consumer, entry, lease
HAND_BACK = Step(
    _TOOLS
    + f"""
local mine = redis.pcall('XPENDING', KEYS[1], ARGV[1], ARGV[3], ARGV[3], 1, ARGV[2])
if mine.err or #mine == 0 then return 0 end
redis.call('XCLAIM', KEYS[1], ARGV[1], '{HANDED_BACK}', 0, ARGV[3], 'IDLE', ARGV[4], 'JUSTID')
redis.call('HDEL', KEYS[2] .. ':held:' .. ARGV[2], ARGV[3])
return 1
"""
)

# KEYS: stream, base. ARGV: group, consumer, entry, data, reason, id, final
BURY = Step(
    _TOOLS
    + """
if #redis.call('XPENDING', KEYS[1], ARGV[1], ARGV[3], ARGV[3], 1, ARGV[2]) == 0 then return 0 end
bury(KEYS[2], KEYS[1], ARGV[1], ARGV[3], ARGV[4], ARGV[5], ARGV[6] ~= '' and ARGV[6] or nil, ARGV[7], ARGV[2])
return 1
"""
)

# Before a worker asks for new jobs: what lapsed becomes ours, or suspect; jobs that died together are for a worker that
# has nothing else. KEYS: base. ARGV: group, consumer, lease, how many, how long an old worker may be silent, final of
# a job given up, reason, held, '1' where it is time to look for what lapsed, then the streams that we serve. Answers
# {how many groups of suspects wait for us}, {0, stream, entries} of one, or {-1, stream, entries} that lapsed.
LOOK = Step(
    _TOOLS
    + _GONE
    + _TRIM
    + f"""
local base, group, me = KEYS[1], ARGV[1], ARGV[2]
local now, lease, free = now_ms(), tonumber(ARGV[3]), tonumber(ARGV[4])
local function suspect(stream, jobs, from, to)
  local names = {{stream}}
  for i = from, to do
    names[#names + 1] = jobs[i][1]
    names[#names + 1] = jobs[i][2]
  end
  if #names > 1 then redis.call('RPUSH', base .. ':suspects', cjson.encode(names)) end
end
local function reclaim(stream)
  local lapsed = redis.pcall('XPENDING', stream, group, 'IDLE', lease, '-', '+', 1000)
  if lapsed.err then return {{}} end
  local claimed, died = {{}}, {{}}
  local function claim(entry)
    if free <= 0 then return end
    free = free - 1
    local got = redis.call('XCLAIM', stream, group, me, 0, entry)[1]
    if got then claimed[#claimed + 1] = got else redis.call('XACK', stream, group, entry) end
  end
  -- Of a worker that does not beat: its job has the time that it was admitted for.
  local function is_late(entry)
    local deadline = tonumber(string.match(entry, '^(%d+)')) + tonumber(ARGV[5])
    local kept = redis.call('XRANGE', stream, entry, entry)[1]
    local read, job = pcall(cjson.decode, kept and kept[2][2] or '')
    if read and type(job) == 'table' and type(job.request_id) == 'string' then
      deadline = tonumber(redis.call('HGET', base .. ':job:' .. job.request_id, 'deadline') or deadline)
    end
    return now >= deadline
  end
  for _, one in ipairs(lapsed) do
    local entry, owner = one[1], one[2]
    local beat = tonumber(redis.call('ZSCORE', base .. ':workers', owner) or nil)
    if owner == '{HANDED_BACK}' then
      claim(entry)
    elseif owner == '{SUSPECTS}' then
      -- It waits for a worker of its own.
    elseif not beat then
      if is_late(entry) then claim(entry) end
    elseif owner == me or now - beat < lease or redis.call('HEXISTS', base .. ':held:' .. owner, entry) == 0 then
      -- Lost by a worker that lives, or never begun: nobody died of it.
      if free > 0 then redis.call('HDEL', base .. ':held:' .. owner, entry) end
      claim(entry)
    else
      died[owner] = true
    end
  end
  for owner, _ in pairs(died) do
    -- All that it had, of whatever stream and however long ago begun: it died of one of them.
    local held, of, total = redis.call('HGETALL', base .. ':held:' .. owner), {{}}, 0
    redis.call('DEL', base .. ':held:' .. owner)
    for i = 1, #held, 2 do
      local from = redis.call('HGET', base .. ':job:' .. held[i + 1], 'stream') or stream
      if #redis.call('XCLAIM', from, group, '{SUSPECTS}', 0, held[i], 'JUSTID') > 0 then
        of[from] = of[from] or {{}}
        table.insert(of[from], {{held[i], held[i + 1]}})
        total = total + 1
      end
    end
    for from, jobs in pairs(of) do
      table.sort(jobs, function(a, b) return a[1] < b[1] end)
      local deaths = 0
      if total == 1 then
        deaths = redis.call('HINCRBY', base .. ':job:' .. jobs[1][2], 'failures', 1)
        redis.call('HSET', base .. ':worker:' .. owner, 'blamed', jobs[1][2])
        redis.call('PEXPIRE', base .. ':worker:' .. owner, {DAY_MS})
      end
      if deaths >= {DEATHS} then
        local entry, id = jobs[1][1], jobs[1][2]
        local kept = redis.call('XRANGE', from, entry, entry)[1]
        bury(base, from, group, entry, kept and kept[2][2] or '', ARGV[7], id, ARGV[6], owner)
      else
        local half = math.floor(#jobs / 2)
        suspect(from, jobs, 1, half)
        suspect(from, jobs, half + 1, #jobs)
      end
    end
  end
  return claimed
end
if ARGV[9] == '1' then
  local claimed, from = {{}}, 10
  while #claimed == 0 and from <= #ARGV do
    trim(ARGV[from], group)  -- what old workers acknowledged for old bridges
    claimed, from = reclaim(ARGV[from]), from + 1
  end
  -- A worker that is gone leaves its name with its last job.
  for _, name in ipairs(redis.call('ZRANGEBYSCORE', base .. ':workers', '-inf', now - 3 * lease, 'LIMIT', 0, 20)) do
    if redis.call('EXISTS', base .. ':held:' .. name) == 0 then forget(base, group, name, 10) end
  end
  if #claimed > 0 then return {{-1, ARGV[from - 1], claimed}} end
end
local serves, waiting, first = {{}}, 0, nil
for i = 10, #ARGV do serves[ARGV[i]] = true end
for _, one in ipairs(redis.call('LRANGE', base .. ':suspects', 0, 200)) do
  if serves[cjson.decode(one)[1]] then
    waiting = waiting + 1
    first = first or one
  end
end
if waiting == 0 then return {{0}} end
local draining = base .. ':draining'
redis.call('ZREMRANGEBYSCORE', draining, '-inf', now)
if tonumber(ARGV[8]) > 0 then
  -- Not more workers empty themselves than there is need of.
  if not redis.call('ZSCORE', draining, me) and redis.call('ZCARD', draining) >= waiting then return {{0}} end
  redis.call('ZADD', draining, now + tonumber(ARGV[3]), me)
  return {{waiting}}
end
redis.call('ZREM', draining, me)
redis.call('LREM', base .. ':suspects', 1, first)
local names = cjson.decode(first)
local got, rest, last = {{}}, {{names[1]}}, math.min(#names, 1 + 2 * tonumber(ARGV[4]))
for i = last + 1, #names do rest[#rest + 1] = names[i] end
if #rest > 1 then redis.call('RPUSH', base .. ':suspects', cjson.encode(rest)) end
for i = 2, last, 2 do
  local one = redis.call('XCLAIM', names[1], group, me, 0, names[i])[1]
  if one then
    got[#got + 1] = one
    redis.call('HSET', base .. ':held:' .. me, names[i], names[i + 1])
  else
    redis.call('XACK', names[1], group, names[i])
  end
end
return {{0, names[1], got}}
"""
)

# KEYS: base. ARGV: group, consumer, then the streams that it served
LEAVE = Step(
    _TOOLS
    + _GONE
    + """
return forget(KEYS[1], ARGV[1], ARGV[2], 3)
"""
)

# An old worker has ended its job: what it acknowledged and did not delete goes. KEYS: stream, base. ARGV: group, id
TRIM = Step(
    _TOOLS
    + _TRIM
    + """
if redis.call('EXISTS', KEYS[2] .. ':job:' .. ARGV[2]) == 1 then settle(KEYS[2], ARGV[2], 'done') end
return trim(KEYS[1], ARGV[1])
"""
)
