"""The classes of `tei.proto`'s messages, made from its compiled description; `messages.pyi` says what they are.

They are made here rather than generated as code, because generated code runs with one major version of protobuf, and in
a pool of their own, so that another tei.proto in the process does no harm.
"""

from __future__ import annotations

from importlib.resources import files

from google.protobuf import descriptor_pb2, message_factory
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.internal.enum_type_wrapper import EnumTypeWrapper

_pool = DescriptorPool()
_set = descriptor_pb2.FileDescriptorSet.FromString(files(__package__).joinpath("tei.binpb").read_bytes())
_pool.Add(_set.file[0])
DESCRIPTOR = _pool.FindFileByName(_set.file[0].name)

for _name, _message in DESCRIPTOR.message_types_by_name.items():
    globals()[_name] = message_factory.GetMessageClass(_message)
for _name, _enum in DESCRIPTOR.enum_types_by_name.items():
    globals()[_name] = EnumTypeWrapper(_enum)
    globals().update({value.name: value.number for value in _enum.values})
