// Package persistence keeps calls: what it has acknowledged survives the process, the power and a full disk, and on a shared
// database the node.
//
// The one idea: every write is a compare-and-set of one call's record on its Revision, and the rows that lead to the record
// (a user's list, the day it may be forgotten) are written in the same atomic batch, or not at all.
// Whoever writes from a stale copy loses and changes nothing (SPEC 9.2).
//
//	Save ─▶ encode, compare Prev with Next ─▶ queue ─▶ committer ─▶ one batch, one fsync or round trip ─▶ verdicts
//	        (in the caller's goroutine)
//
// Three stores behave alike and pass one suite: Pebble, on a directory of its own; Postgres, which nodes share; and Memory,
// which forgets.
//
// What it does not do: it applies no rule of a call, chooses no retry, and never repairs what it can't read. A disk that
// fails ends Pebble (Config.Fatal): from then on nothing is acknowledged and nothing is read. A database that is away is waited
// for; what a lost connection leaves open is read back.
//
// Concurrency: all methods of all stores may be called from any goroutine. Save blocks until its group is durable. Reads
// show only what is durable.
package persistence
