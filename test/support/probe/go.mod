module iam-ha.local/probe

go 1.24.0
