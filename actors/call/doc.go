// Package call is the pure core of Carillon: one call, from the invitation to its end, as a value.
//
// Step applies a command to a State at an instant and returns the next State and what must be told. There is no clock,
// goroutine, mutex, socket or log in here: equal arguments give equal results, so the same code runs under the actors,
// in the simulator and in a table test.
//
// The one idea: what a user must hear is a function of the state and of the change he was last told of. Every change is
// numbered (Seq); every participant remembers the number he was told (Told, acknowledged by his session, and Sent, still
// under way). A lost message, a crash between commit and tell, and the ordinary case take the same way: derive what is owed.
//
//	                     callInvite / callingInvite
//	                                │
//	              ┌──────────── Inviting ───── not received in time ──▶ NotYetReceived
//	              │                 │ receipt                                 │ receipt
//	              │                 ▼                                         │
//	              │             Received ◀────────────────────────────────────┘
//	              │                 │
//	              └──── pending ────┤
//	   ┌──────────┬─────────────────┼──────────────┬───────────────┐
//	   ▼          ▼                 ▼              ▼               ▼
//	Rejected   Timeout        BeCancelled      Accepted ──────▶  Quit        (the caller of a whole cancel: Cancelled)
//	   │          │                 │              ▲               │
//	   └──────────┴────── callJoin ─┴──────────────┴───────────────┘
//	                  or callingInvite, back to Inviting
//
// What it does not do: it never stores, sends, waits or reads the time; and it knows nothing of devices but the one that
// acted and the one that is main.
package call
