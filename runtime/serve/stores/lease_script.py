"""One exchange of one instance about one limit, a script that Redis runs in one piece; `Lease` says what it means."""

from __future__ import annotations

SCRIPT = """
-- KEYS[1]  a hash: `s<slot>` spent in a slot · `l<instance>` its lease: number expires granted used wait reset
-- ARGV     instance number amount slot_us least most keep lease_ms remember_ms, then slot delta, slot delta, …
-- Returns  granted used wait_ms reset_ms
local SLOTS = 60
local instance, number, amount, slot_us = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local least, most, keep = tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7])
local lease_ms, remember_ms = tonumber(ARGV[8]), tonumber(ARGV[9])
local clock = redis.call('TIME')
local now_us = clock[1] * 1000000 + clock[2]
local now_ms = math.floor(now_us / 1000)
local slot = math.floor(now_us / slot_us)
local function whole(x) return string.format('%.0f', x) end

local spent, frees, others, gone = {}, {}, 0, {}
local all = redis.call('HGETALL', KEYS[1])
for i = 1, #all, 2 do
  local field, value = all[i], all[i + 1]
  local kind, name = string.sub(field, 1, 1), string.sub(field, 2)
  if kind == 's' then
    local at = tonumber(name)
    if at < slot - SLOTS then gone[#gone + 1] = field else spent[at] = tonumber(value) end
  else
    local n, expires, granted, used, wait, reset = string.match(value, '(%d+) (%d+) (%d+) (%d+) (%d+) (%d+)')
    expires = tonumber(expires)
    if name == instance then
      if tonumber(n) >= number then  -- told before, and the answer was lost
        return { tonumber(granted), tonumber(used), tonumber(wait), tonumber(reset) }
      end
    elseif expires > now_ms then
      others = others + tonumber(granted)
      frees[#frees + 1] = { expires, tonumber(granted) }
    elseif expires + remember_ms < now_ms then
      gone[#gone + 1] = field
    end
  end
end

for i = 10, #ARGV, 2 do
  local at, delta = math.min(tonumber(ARGV[i]), slot), tonumber(ARGV[i + 1])
  if at >= slot - SLOTS then
    spent[at] = math.max(0, (spent[at] or 0) + delta)
    redis.call('HSET', KEYS[1], 's' .. whole(at), whole(spent[at]))
  end
end
if #gone > 0 then redis.call('HDEL', KEYS[1], unpack(gone, 1, math.min(#gone, 1000))) end

local used, newest = others, nil
for at, count in pairs(spent) do
  used = used + count
  frees[#frees + 1] = { math.ceil((at + SLOTS + 1) * slot_us / 1000), count }
  if count > 0 and (newest == nil or at > newest) then newest = at end
end
local room = math.max(0, amount - used)
local granted = room >= least and math.min(most, room) or math.min(keep, room)
local wait = 0
if granted < least then
  local missing = least - room
  table.sort(frees, function(a, b) return a[1] < b[1] end)
  for _, free in ipairs(frees) do
    missing = missing - free[2]
    if missing <= 0 then wait = math.max(1, free[1] - now_ms) break end
  end
end
local reset = newest and math.max(0, math.ceil((newest + SLOTS + 1) * slot_us / 1000) - now_ms) or 0
redis.call('HSET', KEYS[1], 'l' .. instance,
  string.format('%.0f %.0f %.0f %.0f %.0f %.0f', number, now_ms + lease_ms, granted, used, wait, reset))
redis.call('PEXPIRE', KEYS[1], whole(math.ceil((SLOTS + 1) * slot_us / 1000) + lease_ms + remember_ms))
return { granted, used, wait, reset }
"""
