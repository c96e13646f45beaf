--@include lib/read_token
-- Lets a recovery's script through only if it belongs to the newest recovery, still talks to the Redis process with which
-- it began, and stands where it believes to stand. Returns the refusing reply, or nil. A sleeping recovery wakes harmless.
local function guard(meta_key, epoch, token, number)
  local meta = redis.call('HMGET', meta_key, 'recovering', 'number')
  if read_token() ~= token or tonumber(meta[1] or -1) ~= epoch then return {'superseded'} end
  if number and tonumber(meta[2] or -1) ~= number then return {'superseded'} end
  return nil
end
