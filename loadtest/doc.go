// Loadtest plays thousands of users against a Carillon service, measures it, and checks every call.
//
//	go run ./loadtest -spawn 1                          the call set-up, on a server of its own
//	go run ./loadtest -scenario mixed -addr 127.0.0.1:7443
//	go run ./loadtest -scenario mixed -spawn 3 -kill 5s   a cluster, of which a node is killed
//	go run ./loadtest bench                             the figures that count, with their targets (make bench)
//	go run ./loadtest compare RUN RUN
//	go run ./loadtest page RUN                          its HTML page, once more
//	go run ./loadtest -worker :7400                     waits for work, on each load machine; then
//	go run ./loadtest -workers host1:7400,host2:7400 -secret @FILE -addr host3:7443 -ca ca.pem
//	go run ./loadtest merge RUN RUN                     one report of runs that went on at the same time
//
// A scenario (scenarios/*.yaml) says how many users there are, how many calls they make and of which kind. Each kind is a
// story: the deeds of a call in order, and after each deed exactly what every device must hear (plot derives it from the
// rules of the service). A call's machine follows its story: the next deed is done when all have heard all of the last one.
// Anything else that is heard, or not heard in time, is a wrong outcome and fails the run, with the call's trace; and at the
// end the users' lists must agree with what they were told.
//
// Users are logged in before the first call. Those who must be offline at first, or have a second device, are visitors: users
// of one call only, whose devices log in as its deeds, and log out when it is over.
//
// Calls begin on an absolute schedule, whatever became of those before them (open loop), and what is measured counts from the
// scheduled instant, so a slow server cannot hide behind a load that waits for it.
//
// While it runs a terminal shows how it stands; then there is a report as JSON and as a page (package page). Several processes can
// play one run: workers do what a run does between users of their own, the coordinator lets them begin each phase together and merges
// what they report (package link is their connection).
//
// Concurrency: one goroutine reads each connection and drives the machines of the calls that it hears of; one goroutine, the
// agenda's, does all that has its time: arrivals, deeds, heartbeats, deadlines; a fixed number lets visitors in. No call has a
// goroutine. The view has one; each connection between coordinator and worker has one that reads and one that sends each second.
// Whoever starts one waits for its end. Locks are taken in the order book, call, user; tally and agenda are innermost.
//
// Servers of a run may be killed, stopped and restarted, by the scenario or by hand (each says its process number at the
// start). Devices then log in again and repeat what was not answered, and calls are held to what SPEC promises through faults.
//
// It does not speak through transport/client, whose clients have goroutines and retries of their own: it must see every frame,
// and repairs nothing.
package main
