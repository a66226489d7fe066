package actors

import (
	"google.golang.org/protobuf/proto"

	"carillon/actors/call"
	"carillon/transport/wire"
)

// frame encodes what the server itself has built; strings came in as valid UTF-8, so it cannot fail.
func frame(f *wire.ServerFrame) []byte {
	out, err := wire.AppendFrame(make([]byte, 0, proto.Size(f)+4), f)
	if err != nil {
		panic(err)
	}
	return out
}

// marshal encodes a part of a frame that is put together elsewhere.
func marshal(m proto.Message) []byte {
	out, err := proto.Marshal(m)
	if err != nil {
		panic(err)
	}
	return out
}

func responseFrame(r *wire.Response) []byte {
	return frame(&wire.ServerFrame{Body: &wire.ServerFrame_Response{Response: r}})
}

func userErrors(in []call.UserError) []*wire.UserError {
	out := make([]*wire.UserError, len(in))
	for i, e := range in {
		out[i] = &wire.UserError{UserId: string(e.User), Code: uint32(e.Code)}
	}
	return out
}
