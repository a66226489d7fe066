package main

import (
	"runtime"
	"runtime/debug"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"carillon/actors/call"
)

// Metrics is what the node counts for /metrics, all under the name carillon_. Its methods are the plain functions that
// node.go hands to the packages; they may be called from any goroutine.
type Metrics struct {
	operations *prometheus.CounterVec
	refusals   *prometheus.CounterVec
	latency    *prometheus.HistogramVec
	ring       prometheus.Histogram
	commit     prometheus.Histogram
	group      prometheus.Histogram
	events     *prometheus.CounterVec
	repairs    *prometheus.CounterVec
	registry   prometheus.Registerer
}

// Readings are figures that are looked up when somebody asks for /metrics. A nil function leaves its figure out. They are
// called from several goroutines and must not block.
type Readings struct {
	Connections func() int            // open now, logged in or not
	Devices     func() int            // online now
	OpenCalls   func() map[string]int // by state, such as ringing and answered; the same few keys every time
	Closed      func() map[string]int // connections closed since the start, by close code
	Queues      map[string]func() int // entries waiting, by the queue's name
	Cluster     []Count               // since the start
	Admission   func() Admission
}

// Admission is what the node lets in.
type Admission struct {
	Limit, Underway int            // of new work, at this moment
	Admitted        int            // new work since the start
	Refused         map[string]int // since the start, by cause; the same few keys every time
}

// Count is a counter that is looked up on demand.
type Count struct {
	Name, Help string
	Read       func() int64
}

// NewMetrics registers the counters with reg, together with those of the Go runtime and the process.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	m := &Metrics{
		registry: reg,
		operations: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "carillon_operations_total", Help: "Operations answered, refused ones included.",
		}, []string{"op"}),
		refusals: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "carillon_refusals_total", Help: "Operations refused, by the code of the answer.",
		}, []string{"op", "code"}),
		latency: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "carillon_operation_seconds", Help: "From a request's arrival to its answer.", Buckets: seconds,
		}, []string{"op"}),
		ring: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "carillon_invite_to_ring_seconds", Help: "From an invitation's arrival to the first device's receipt.", Buckets: seconds,
		}),
		commit: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "carillon_commit_seconds", Help: "One durable write of the store.", Buckets: seconds,
		}),
		group: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "carillon_commit_group_size", Help: "Transitions in one durable write.", Buckets: prometheus.ExponentialBuckets(1, 2, 12),
		}),
		events: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "carillon_decisions_total", Help: "Rare decisions: ended, fenced, dropped, kicked out and the like.",
		}, []string{"decision"}),
		repairs: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "carillon_repairs_total",
			Help: "What made good a loss: a tell that was repeated, a device recalled by a session that did not know it, a gap between nodes.",
		}, []string{"how"}),
	}
	reg.MustRegister(m.operations, m.refusals, m.latency, m.ring, m.commit, m.group, m.events, m.repairs,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		gauge("carillon_goroutines", "Goroutines.", runtime.NumGoroutine), buildInfo())
	return m
}

// seconds are the buckets of every duration: a commit takes a tenth of a millisecond, a stalled disk ten seconds.
var seconds = []float64{0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10}

// Read registers the figures that are looked up on demand. Once per Metrics.
func (m *Metrics) Read(r Readings) {
	if r.Connections != nil {
		m.registry.MustRegister(gauge("carillon_connections", "Client connections open.", r.Connections))
	}
	if r.Devices != nil {
		m.registry.MustRegister(gauge("carillon_devices", "Devices online.", r.Devices))
	}
	if r.OpenCalls != nil {
		m.registry.MustRegister(&labelled{
			desc: prometheus.NewDesc("carillon_open_calls", "Calls that have not ended, by state.", []string{"state"}, nil),
			kind: prometheus.GaugeValue, read: r.OpenCalls,
		})
	}
	if r.Closed != nil {
		m.registry.MustRegister(&labelled{
			desc: prometheus.NewDesc("carillon_connections_closed_total", "Connections closed, by close code.", []string{"code"}, nil),
			kind: prometheus.CounterValue, read: r.Closed,
		})
	}
	if r.Admission != nil {
		m.admission(r.Admission)
	}
	for _, c := range r.Cluster {
		m.registry.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{Name: c.Name, Help: c.Help},
			func() float64 { return float64(c.Read()) }))
	}
	if len(r.Queues) > 0 {
		m.registry.MustRegister(&labelled{
			desc: prometheus.NewDesc("carillon_queue_length", "Entries waiting, by queue.", []string{"queue"}, nil),
			kind: prometheus.GaugeValue, read: func() map[string]int { return lengths(r.Queues) },
		})
	}
}

func (m *Metrics) admission(read func() Admission) {
	m.registry.MustRegister(
		gauge("carillon_admission_limit", "New work that may be under way at this moment: invitations, joins and lists.",
			func() int { return read().Limit }),
		gauge("carillon_admission_underway", "New work that is under way.", func() int { return read().Underway }),
		prometheus.NewCounterFunc(prometheus.CounterOpts{Name: "carillon_admission_admitted_total", Help: "New work let in."},
			func() float64 { return float64(read().Admitted) }),
		&labelled{
			desc: prometheus.NewDesc("carillon_admission_refused_total",
				"Requests, logins and connections refused for what they would cost, by cause.", []string{"cause"}, nil),
			kind: prometheus.CounterValue, read: func() map[string]int { return read().Refused },
		})
}

// Repaired counts something lost that was made good: "tell", "recall", "gap".
func (m *Metrics) Repaired(how string) { m.repairs.WithLabelValues(how).Inc() }

// Operation counts one answered request. op is the operation's name, one of a fixed few; code is the answer's, 0 = success.
func (m *Metrics) Operation(op string, code call.Code, took time.Duration) {
	m.operations.WithLabelValues(op).Inc()
	if code != call.OK {
		m.refusals.WithLabelValues(op, strconv.FormatUint(uint64(code), 10)).Inc()
	}
	m.latency.WithLabelValues(op).Observe(took.Seconds())
}

// Rang counts an invitation's way from its arrival to the first receipt.
func (m *Metrics) Rang(took time.Duration) { m.ring.Observe(took.Seconds()) }

// Committed counts one durable write of group transitions.
func (m *Metrics) Committed(group int, took time.Duration) {
	m.commit.Observe(took.Seconds())
	m.group.Observe(float64(group))
}

// Decided counts a rare decision under its name, one of a fixed few.
func (m *Metrics) Decided(decision string) { m.events.WithLabelValues(decision).Inc() }

func gauge(name, help string, read func() int) prometheus.Collector {
	return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, func() float64 { return float64(read()) })
}

func buildInfo() prometheus.Collector {
	return prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "carillon_build_info", Help: "1, with the version as a label.",
		ConstLabels: prometheus.Labels{"version": versionOf(version, debug.ReadBuildInfo)},
	}, func() float64 { return 1 })
}

func lengths(queues map[string]func() int) map[string]int {
	n := make(map[string]int, len(queues))
	for name, length := range queues {
		n[name] = length()
	}
	return n
}

// labelled is a metric with one label whose values come all at once from a function.
type labelled struct {
	desc *prometheus.Desc
	kind prometheus.ValueType
	read func() map[string]int
}

func (g *labelled) Describe(out chan<- *prometheus.Desc) { out <- g.desc }

func (g *labelled) Collect(out chan<- prometheus.Metric) {
	for label, n := range g.read() {
		out <- prometheus.MustNewConstMetric(g.desc, g.kind, float64(n), label)
	}
}
