module iam-ha.local/hostkit

go 1.24.0
