// Package session is the pure core of one user's session: his devices, whether he is there, and which of his devices
// hears what.
//
// A State belongs to one owner and is stepped with the instant as an argument; every Step returns the effects in the
// order in which they must happen. Nothing in it is durable: an owner hands it over to the next one (Leave, Handover), and
// after the loss of its memory a session is built again from the devices that log in again (their gateways are recalled
// at the next frame) and the calls that ask to watch. Until then the user has one fresh grace, so that a restart alone
// cancels nothing (SPEC 5).
//
//	             login                     sync complete, or too late
//	(none) ───────────────▶ joining ─────────────────────────────────▶ online
//	   ▲                       │ connection breaks                        │ connection breaks, or silent
//	   │ grace over, logout    ▼                                          ▼
//	   └──────────────────── grace ◀──────────────────────────────────────┘
//
// What it does not do: it never looks into a frame, and it knows of a call only its ID and whether it wants to know when
// the user goes.
package session
