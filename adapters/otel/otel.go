// Package otel reports a Terminal's events as OpenTelemetry spans and metrics.
package otel

import (
	"context"
	"errors"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"

	"github.com/terminal-go/terminal"
)

const scope = "github.com/terminal-go/terminal"

type observer struct {
	tracer   trace.Tracer
	events   metric.Int64Counter
	duration metric.Float64Histogram
	output   metric.Int64Counter
}

// NewObserver returns an Observer for terminal.Config. What takes time becomes
// a span, a child of the one in the context of the call: commands, and the
// creation and the closing of environments. The metrics are terminal.events,
// terminal.duration (s) and terminal.output (By), each by event and backend.
// Commands and tasks are in no metric, and the text of a command is nowhere: it
// may hold secrets. An error is that of an instrument that cannot be made.
func NewObserver(tp trace.TracerProvider, mp metric.MeterProvider) (terminal.Observer, error) {
	meter := mp.Meter(scope)
	events, err1 := meter.Int64Counter("terminal.events", metric.WithDescription("What happened to environments and commands."))
	duration, err2 := meter.Float64Histogram("terminal.duration", metric.WithUnit("s"), metric.WithDescription("How long it took."))
	output, err3 := meter.Int64Counter("terminal.output", metric.WithUnit("By"), metric.WithDescription("What commands wrote."))
	return observer{tp.Tracer(scope), events, duration, output}, errors.Join(err1, err2, err3)
}

// Observe is safe for concurrent use.
func (o observer) Observe(ctx context.Context, e terminal.Event) {
	by := metric.WithAttributes(attribute.String("event", string(e.Kind)), attribute.String("backend", e.Backend))
	o.events.Add(ctx, 1, by)
	if e.Duration == 0 || e.Kind == terminal.EventRetried {
		trace.SpanFromContext(ctx).AddEvent(string(e.Kind))
		return
	}
	o.duration.Record(ctx, e.Duration.Seconds(), by)
	o.output.Add(ctx, e.Bytes, by)
	_, span := o.tracer.Start(ctx, string(e.Kind), trace.WithTimestamp(e.Time.Add(-e.Duration)), trace.WithAttributes(
		attribute.String("task", e.Task), attribute.String("backend", e.Backend), attribute.String("run_id", e.RunID),
		attribute.Int("exit_code", e.ExitCode), attribute.Int64("bytes", e.Bytes), attribute.Int("omitted_chars", e.Omitted),
	))
	if e.Err != nil {
		span.SetStatus(codes.Error, e.Err.Error())
	}
	span.End(trace.WithTimestamp(e.Time))
}
