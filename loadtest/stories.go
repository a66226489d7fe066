package main

import "carillon/transport/wire"

// stories are the kinds of calls that a scenario can mix.
var stories = []*story{
	answeredStory(), rejectedStory(), cancelledStory(), timedOutStory(), lateStory(), tooLateStory(), elsewhereStory(), switchedStory(), groupStory(),
}

func storyNamed(name string) *story {
	for _, s := range stories {
		if s.name == name {
			return s
		}
	}
	return nil
}

func answeredStory() *story {
	p := newPlot("answered", wire.CallMode_CALL_MODE_COMMON)
	p.invite(devA, roleB)
	p.move(accept, devB)
	return p.end(wire.Reason_REASON_ALL_ANSWERED)
}

func rejectedStory() *story {
	p := newPlot("rejected", wire.CallMode_CALL_MODE_COMMON)
	p.invite(devA, roleB)
	p.move(reject, devB)
	return p.end(wire.Reason_REASON_REJECTED)
}

func cancelledStory() *story {
	p := newPlot("cancelled", wire.CallMode_CALL_MODE_COMMON)
	p.invite(devA, roleB)
	p.cancel()
	return p.end(wire.Reason_REASON_CANCELLED)
}

func timedOutStory() *story {
	p := newPlot("timed-out", wire.CallMode_CALL_MODE_COMMON)
	p.invite(devA, roleB)
	p.expire()
	return p.end(wire.Reason_REASON_NO_ANSWER)
}

// lateStory: B is offline when he is invited, logs in, rings and takes the call.
func lateStory() *story {
	p := newPlot("late", wire.CallMode_CALL_MODE_COMMON, roleB)
	p.invite(devA, roleB)
	p.logIn(devB)
	p.move(accept, devB)
	p.list(devB)
	return p.end(wire.Reason_REASON_ALL_ANSWERED)
}

// tooLateStory: B logs in when his invitation has timed out, and finds it in his list only.
func tooLateStory() *story {
	p := newPlot("too-late", wire.CallMode_CALL_MODE_COMMON, roleB)
	p.invite(devA, roleB)
	p.expire()
	p.logIn(devB)
	p.list(devB)
	return p.end(wire.Reason_REASON_NO_ANSWER)
}

// elsewhereStory: both devices of B ring, he takes the call on the second, and the first hears nothing of C's answer.
func elsewhereStory() *story {
	p := newPlot("answered-elsewhere", wire.CallMode_CALL_MODE_COMMON, roleB)
	p.logIn(devB)
	p.logIn(devB2)
	p.invite(devA, roleB, roleC)
	p.move(accept, devB2)
	p.move(accept, devC)
	return p.end(wire.Reason_REASON_ALL_ANSWERED)
}

// switchedStory: B takes the call on one device, logs in with another and moves it there; the first one hears nothing of C, who
// comes and goes, nor of B's leaving.
func switchedStory() *story {
	p := newPlot("switched", wire.CallMode_CALL_MODE_ADVANCED, roleB)
	p.logIn(devB)
	p.invite(devA, roleB)
	p.move(accept, devB)
	p.logIn(devB2)
	p.move(join, devB2)
	p.invite(devA, roleC)
	p.move(reject, devC)
	p.move(quit, devB2)
	p.endForAll(devA)
	return p.end(wire.Reason_REASON_ENDED_BY_USER)
}

// groupStory: B takes the call, C does not; B brings D, E comes by himself, B leaves, and A ends it for all.
func groupStory() *story {
	p := newPlot("group", wire.CallMode_CALL_MODE_ADVANCED)
	p.invite(devA, roleB, roleC)
	p.move(accept, devB)
	p.move(reject, devC)
	p.invite(devB, roleD)
	p.move(accept, devD)
	p.move(join, devE)
	p.move(quit, devB)
	p.endForAll(devA)
	return p.end(wire.Reason_REASON_ENDED_BY_USER)
}
