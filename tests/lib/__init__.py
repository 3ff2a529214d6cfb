# SPDX-License-Identifier: Apache-2.0
"""What the tests are made of: namespaces, hosts with a daemon pair, captures, and waiting on conditions."""
