"""Builders of packets and capture files, from the wire format up; nothing in them was captured."""
