package main

import (
	"context"
	"fmt"
	"log/slog"
	"strconv"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"carillon/actors/call"
)

// Limits of tracing.
const (
	traceQueue         = 4096             // spans that wait to be sent; further ones are dropped
	traceBatch         = 512              // spans sent at once
	traceExportTimeout = 10 * time.Second // for one batch
)

// Tracing makes OpenTelemetry spans of one command's way. Nothing waits for the collector: what cannot be sent is dropped,
// and the log says so. Its methods may be called from any goroutine.
type Tracing struct {
	provider *sdktrace.TracerProvider
	tracer   trace.Tracer
}

// NewTracing sends spans to cfg's endpoint, which must not be empty; a node without one has no Tracing, at no cost.
func NewTracing(cfg TraceConfig, node string, log *slog.Logger) (*Tracing, error) {
	exporter, err := otlptracehttp.New(context.Background(),
		otlptracehttp.WithEndpointURL(cfg.OTLPEndpoint), otlptracehttp.WithTimeout(traceExportTimeout))
	if err != nil {
		return nil, fmt.Errorf("trace.otlp_endpoint: %w", err)
	}
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) { log.Warn("spans were not sent", "error", err) }))
	provider := sdktrace.NewTracerProvider(
		sdktrace.WithBatcher(exporter, sdktrace.WithMaxQueueSize(traceQueue), sdktrace.WithMaxExportBatchSize(traceBatch),
			sdktrace.WithExportTimeout(traceExportTimeout)),
		sdktrace.WithResource(resource.NewSchemaless(
			attribute.String("service.name", "carillon"), attribute.String("service.instance.id", node))),
	)
	return &Tracing{provider: provider, tracer: provider.Tracer("carillon")}, nil
}

// Start begins the span of one step below the one that ctx carries; the func ends it with the code it came to. A zero id
// or user is left out.
func (t *Tracing) Start(ctx context.Context, step string, id call.ID, user call.UserID) (context.Context, func(call.Code)) {
	ctx, span := t.tracer.Start(ctx, step)
	if id != 0 {
		span.SetAttributes(attribute.String("carillon.call", id.String())) // may be beyond int64
	}
	if user != "" {
		span.SetAttributes(attribute.String("carillon.user", string(user)))
	}
	return ctx, func(code call.Code) {
		span.SetAttributes(attribute.Int64("carillon.code", int64(code)))
		if code != call.OK {
			span.SetStatus(codes.Error, strconv.FormatUint(uint64(code), 10))
		}
		span.End()
	}
}

// Close sends what is still queued, until ctx is done.
func (t *Tracing) Close(ctx context.Context) error { return t.provider.Shutdown(ctx) }
