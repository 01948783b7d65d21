// Prometheus' operator, whose CRDs the chart's monitors and rules are held to; nothing of it is built.
module dockseal/tests/cluster/assets/operator

go 1.24.0

require github.com/prometheus-operator/prometheus-operator v0.85.0
