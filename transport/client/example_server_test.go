package client_test

import (
	"log"

	"carillon/transport/client"
)

// exampleServer is what the examples talk to; it stands for `carillon serve`.
type exampleServer struct {
	address  string
	exchange *client.Exchange
}

func startServer() *exampleServer {
	exchange, address, err := client.NewExchange()
	if err != nil {
		log.Fatal(err)
	}
	return &exampleServer{address: address, exchange: exchange}
}

func (s *exampleServer) ring(user string)   { s.exchange.Ring(user) }
func (s *exampleServer) cancel(user string) { s.exchange.Cancel(user) }
func (s *exampleServer) stop()              { s.exchange.Stop() }
