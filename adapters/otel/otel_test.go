package otel

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.uber.org/goleak"

	"github.com/terminal-go/terminal"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestObserverSpansAndMetrics(t *testing.T) {
	spans := tracetest.NewSpanRecorder()
	traces := trace.NewTracerProvider(trace.WithSpanProcessor(spans))
	reader := metric.NewManualReader()
	observer, err := NewObserver(traces, metric.NewMeterProvider(metric.WithReader(reader)))
	require.NoError(t, err)
	term, err := terminal.New(terminal.Config{Observer: observer})
	require.NoError(t, err)
	ctx, agent := traces.Tracer("test").Start(t.Context(), "agent")
	_, err = term.Run(ctx, terminal.Request{Command: "echo out; exit 3"})
	require.NoError(t, err)
	_, err = term.Run(ctx, terminal.Request{Command: "sleep 10", Timeout: 50 * time.Millisecond})
	require.ErrorIs(t, err, terminal.ErrTimeout)
	require.NoError(t, term.Close())
	agent.End()

	byName := make(map[string]trace.ReadOnlySpan)
	for _, span := range spans.Ended() {
		byName[span.Name()] = span
	}
	for _, name := range []string{"environment created", "command ended", "command timed out", "environment closed", "agent"} {
		require.Contains(t, byName, name)
	}
	ended, late := byName["command ended"], byName["command timed out"]
	assert.Equal(t, agent.SpanContext().SpanID(), ended.Parent().SpanID())
	assert.Contains(t, ended.Attributes(), attribute.Int("exit_code", 3))
	assert.Contains(t, ended.Attributes(), attribute.Int64("bytes", 4))
	assert.Contains(t, ended.Attributes(), attribute.String("task", "default"))
	assert.Equal(t, codes.Unset, ended.Status().Code, "a non-zero exit is no error")
	assert.Equal(t, codes.Error, late.Status().Code)
	assert.GreaterOrEqual(t, late.EndTime().Sub(late.StartTime()), 50*time.Millisecond)
	for _, span := range spans.Ended() {
		for _, attr := range span.Attributes() {
			assert.NotContains(t, attr.Value.Emit(), "echo")
		}
	}

	var found metricdata.ResourceMetrics
	require.NoError(t, reader.Collect(t.Context(), &found))
	counts := make(map[string]int64)
	for _, m := range found.ScopeMetrics[0].Metrics {
		switch data := m.Data.(type) {
		case metricdata.Sum[int64]:
			for _, point := range data.DataPoints {
				kind, _ := point.Attributes.Value("event")
				counts[m.Name+" "+kind.AsString()] += point.Value
			}
		case metricdata.Histogram[float64]:
			assert.Equal(t, "terminal.duration", m.Name)
			assert.Equal(t, "s", m.Unit)
		}
	}
	assert.EqualValues(t, 2, counts["terminal.events command started"])
	assert.EqualValues(t, 1, counts["terminal.events command ended"])
	assert.EqualValues(t, 1, counts["terminal.events environment created"])
	assert.EqualValues(t, 1, counts["terminal.events environment reused"])
	assert.EqualValues(t, 4, counts["terminal.output command ended"])
}
