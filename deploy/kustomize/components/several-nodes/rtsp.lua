-- RTSP's equivalent of trying the next node on a 503. HAProxy passes RTSP on as plain TCP and cannot repeat a request, so
-- it remembers: after a node has refused a stream, the client's next connection for it goes to another node, until the
-- stream was refused nowhere for a while.
local FORGET = 60 -- seconds
local refused = {} -- stream -> { times, at }

local function place(stream)
    local note = refused[stream]
    if note and core.now().sec - note.at > FORGET then
        refused[stream] = nil
        note = nil
    end
    return note and stream .. "#" .. note.times or stream
end

-- What is hashed for a connection: the stream, and how often it was refused.
core.register_fetches("rtsp_place", function(txn)
    return place(txn:get_var("sess.stream"))
end)

local Refusals = { id = "camshaft-rtsp-refusals" }
Refusals.__index = Refusals

function Refusals:new()
    return setmetatable({ noted = false }, Refusals)
end

function Refusals:start_analyze(txn, channel)
    if channel:is_resp() then
        filter.register_data_filter(self, channel)
    end
end

function Refusals:tcp_payload(txn, channel)
    if not self.noted and channel:is_resp() then
        local head = channel:data(0, 12)
        if head == "RTSP/1.0 503" then
            self.noted = true
            local stream = txn:get_var("sess.stream")
            local note = refused[stream]
            refused[stream] = { times = note and note.times + 1 or 1, at = core.now().sec }
        end
    end
end

core.register_filter("rtsp_refusals", Refusals, function(self, args)
    return self
end)
