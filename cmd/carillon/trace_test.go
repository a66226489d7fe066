package main

import (
	"compress/gzip"
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"

	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	spans "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"carillon/actors/call"
)

// TestTracingSendsACommandsWay: the spans of two steps reach the collector when Tracing is closed, one below the other.
func TestTracingSendsACommandsWay(t *testing.T) {
	received := make(chan *collector.ExportTraceServiceRequest, 8)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var body io.Reader = r.Body
		if r.Header.Get("Content-Encoding") == "gzip" {
			unzipped, err := gzip.NewReader(r.Body)
			if err != nil {
				t.Error(err)
				return
			}
			body = unzipped
		}
		data, err := io.ReadAll(body)
		if err != nil {
			t.Error(err)
		}
		request := new(collector.ExportTraceServiceRequest)
		if err := proto.Unmarshal(data, request); err != nil {
			t.Error(err)
		}
		received <- request
		w.Header().Set("Content-Type", "application/x-protobuf")
	}))
	defer server.Close()

	tracing, err := NewTracing(TraceConfig{OTLPEndpoint: server.URL + "/v1/traces"}, "n1", slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	ctx, endCommand := tracing.Start(context.Background(), "callAccept", 1<<63, "bob")
	_, endSave := tracing.Start(ctx, "save", 1<<63, "")
	endSave(call.OK)
	endCommand(call.NotInvited)
	if err := tracing.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	byName := map[string]*spans.Span{}
	request := <-received
	for _, s := range request.ResourceSpans[0].ScopeSpans[0].Spans {
		byName[s.Name] = s
	}
	command, save := byName["callAccept"], byName["save"]
	if command == nil || save == nil {
		t.Fatalf("spans: %v", byName)
	}
	if string(save.ParentSpanId) != string(command.SpanId) || string(save.TraceId) != string(command.TraceId) {
		t.Error("save is not below callAccept")
	}
	attributes := map[string]string{}
	for _, a := range command.Attributes {
		attributes[a.Key] = a.Value.GetStringValue()
	}
	if attributes["carillon.call"] != "9223372036854775808" || attributes["carillon.user"] != "bob" {
		t.Errorf("attributes: %v", command.Attributes)
	}
	if command.Status.GetCode() != spans.Status_STATUS_CODE_ERROR || save.Status.GetCode() == spans.Status_STATUS_CODE_ERROR {
		t.Errorf("status: %v, %v", command.Status, save.Status)
	}
}
