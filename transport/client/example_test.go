package client_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"carillon/transport/client"
)

// Alice calls Bob, who takes the call.
func Example() {
	server := startServer()
	defer server.stop()
	ctx := context.Background()

	bob, err := client.Dial(ctx, client.Config{
		Addresses: []string{server.address}, UserID: "bob", DeviceID: "phone", Token: "token of bob", Insecure: true,
	})
	if err != nil {
		panic(err)
	}
	defer bob.Close()

	alice, err := client.Dial(ctx, client.Config{
		Addresses: []string{server.address}, UserID: "alice", DeviceID: "laptop", Token: "token of alice", Insecure: true,
		OnEvent: func(client.Event) {},
	})
	if err != nil {
		panic(err)
	}
	defer alice.Close()

	call, err := alice.CallInvite(ctx, []string{"bob"}, client.CallInviteConfig{Timeout: 30 * time.Second, ExtendedData: "video"})
	if err != nil {
		panic(err)
	}
	fmt.Println("alice calls, the call rings for", call.Timeout)

	for event := range bob.Events() {
		if ring, ok := event.(client.CallInvitationReceived); ok {
			fmt.Printf("bob: %s calls (%s)\n", ring.Call.Caller, ring.Call.ExtendedData)
			if _, err := bob.CallAccept(ctx, ring.CallID, client.CallAcceptConfig{}); err != nil {
				panic(err)
			}
			break
		}
	}
	for _, call := range bob.Calls() {
		for _, user := range call.Users {
			fmt.Println(user.UserID, user.State)
		}
	}
	// Output:
	// alice calls, the call rings for 30s
	// bob: alice calls (video)
	// alice accepted
	// bob accepted
}

// One handler serves the whole life of the client: what was missed while the connection was away arrives in it too.
func ExampleClient_Events() {
	server := startServer()
	defer server.stop()

	c, err := client.Dial(context.Background(), client.Config{
		Addresses: []string{server.address}, UserID: "bob", DeviceID: "phone", Token: "token of bob", Insecure: true,
	})
	if err != nil {
		panic(err)
	}
	defer c.Close()
	server.ring("bob")

	for event := range c.Events() {
		switch e := event.(type) {
		case client.CallInvitationReceived:
			fmt.Println("ring:", e.Call.Caller)
			server.cancel("bob")
		case client.CallInvitationCancelled:
			fmt.Println("stop ringing:", e.Reason)
			c.Close()
		case client.ConnectionStateChanged:
			fmt.Println(e.State)
		}
	}
	// Output:
	// connecting
	// connected
	// ring: alice
	// stop ringing: cancelled
	// disconnected
}

// A refusal is an *Error; its code tells what to do.
func ExampleError() {
	server := startServer()
	defer server.stop()
	ctx := context.Background()

	c, err := client.Dial(ctx, client.Config{
		Addresses: []string{server.address}, UserID: "bob", DeviceID: "phone", Insecure: true, OnEvent: func(client.Event) {},
		TokenSource: func(context.Context) (string, error) { return "token of bob", nil },
	})
	if err != nil {
		panic(err)
	}
	defer c.Close()

	_, err = c.CallAccept(ctx, 12345, client.CallAcceptConfig{})
	var refusal *client.Error
	switch {
	case errors.Is(err, client.NoSuchCall):
		fmt.Println("too late:", err)
	case errors.As(err, &refusal):
		fmt.Println("refused with", uint32(refusal.Code))
	}
	// Output:
	// too late: 6000276: no such call: call 12345
}
