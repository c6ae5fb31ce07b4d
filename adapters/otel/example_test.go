package otel_test

import (
	"context"
	"fmt"

	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/terminal-go/terminal"
	"github.com/terminal-go/terminal/adapters/otel"
)

func Example() {
	spans := tracetest.NewInMemoryExporter() // yours: an OTLP exporter
	traces := trace.NewTracerProvider(trace.WithSyncer(spans))
	observer, err := otel.NewObserver(traces, metric.NewMeterProvider())
	if err != nil {
		fmt.Println(err)
		return
	}
	term, err := terminal.New(terminal.Config{Observer: observer})
	if err != nil {
		fmt.Println(err)
		return
	}
	_, _ = term.Run(context.Background(), terminal.Request{Command: "exit 3"})
	_ = term.Close()
	for _, span := range spans.GetSpans() {
		fmt.Println(span.Name)
	}
	// Output:
	// environment created
	// command ended
	// environment closed
}
