// What the packages Google.Protobuf and Grpc.Net.Client and the engine bring, declared by hand as far as stubs and the guide's code use it: without NuGet there
// is nothing else to compile them against. Names and types as those packages document them; nothing here runs.
#pragma warning disable 67, 414, 649
using System;
using System.Collections.Generic;
using System.Threading;
using System.Threading.Tasks;

namespace Google.Protobuf
{
    public interface IMessage { Reflection.MessageDescriptor Descriptor { get; } void MergeFrom(CodedInputStream input); void WriteTo(CodedOutputStream output); int CalculateSize(); }
    public interface IMessage<T> : IMessage, IEquatable<T> where T : IMessage<T> { void MergeFrom(T message); T Clone(); }
    public class MessageParser { }
    public class MessageParser<T> : MessageParser where T : IMessage<T> { public MessageParser(Func<T> factory) { } public T ParseFrom(byte[] data) { throw null; } }
    public sealed class ByteString { public static ByteString Empty { get { throw null; } } public int Length { get { throw null; } } public static ByteString CopyFrom(params byte[] bytes) { throw null; } }
    public sealed class UnknownFieldSet
    {
        public static UnknownFieldSet MergeFieldFrom(UnknownFieldSet set, CodedInputStream input) { throw null; }
        public static UnknownFieldSet MergeFrom(UnknownFieldSet set, UnknownFieldSet other) { throw null; }
        public static UnknownFieldSet Clone(UnknownFieldSet other) { throw null; }
        public void WriteTo(CodedOutputStream output) { }
        public int CalculateSize() { throw null; }
    }
    public sealed class CodedInputStream
    {
        public uint ReadTag() { throw null; }
        public string ReadString() { throw null; }
        public ByteString ReadBytes() { throw null; }
        public bool ReadBool() { throw null; }
        public double ReadDouble() { throw null; }
        public float ReadFloat() { throw null; }
        public int ReadInt32() { throw null; }
        public long ReadInt64() { throw null; }
        public int ReadSInt32() { throw null; }
        public long ReadSInt64() { throw null; }
        public uint ReadUInt32() { throw null; }
        public ulong ReadUInt64() { throw null; }
        public uint ReadFixed32() { throw null; }
        public ulong ReadFixed64() { throw null; }
        public int ReadEnum() { throw null; }
        public void ReadMessage(IMessage message) { }
    }
    public sealed class CodedOutputStream
    {
        public void WriteRawTag(byte b1) { }
        public void WriteRawTag(byte b1, byte b2) { }
        public void WriteRawTag(byte b1, byte b2, byte b3) { }
        public void WriteString(string value) { }
        public void WriteBytes(ByteString value) { }
        public void WriteBool(bool value) { }
        public void WriteDouble(double value) { }
        public void WriteFloat(float value) { }
        public void WriteInt32(int value) { }
        public void WriteInt64(long value) { }
        public void WriteSInt32(int value) { }
        public void WriteSInt64(long value) { }
        public void WriteUInt32(uint value) { }
        public void WriteUInt64(ulong value) { }
        public void WriteFixed32(uint value) { }
        public void WriteFixed64(ulong value) { }
        public void WriteEnum(int value) { }
        public void WriteMessage(IMessage message) { }
        public static int ComputeStringSize(string value) { throw null; }
        public static int ComputeBytesSize(ByteString value) { throw null; }
        public static int ComputeInt32Size(int value) { throw null; }
        public static int ComputeInt64Size(long value) { throw null; }
        public static int ComputeSInt32Size(int value) { throw null; }
        public static int ComputeSInt64Size(long value) { throw null; }
        public static int ComputeUInt32Size(uint value) { throw null; }
        public static int ComputeUInt64Size(ulong value) { throw null; }
        public static int ComputeEnumSize(int value) { throw null; }
        public static int ComputeMessageSize(IMessage message) { throw null; }
    }
    public sealed class FieldCodec<T> { }
    public static class FieldCodec
    {
        public static FieldCodec<string> ForString(uint tag) { throw null; }
        public static FieldCodec<string> ForString(uint tag, string defaultValue) { throw null; }
        public static FieldCodec<ByteString> ForBytes(uint tag) { throw null; }
        public static FieldCodec<ByteString> ForBytes(uint tag, ByteString defaultValue) { throw null; }
        public static FieldCodec<bool> ForBool(uint tag) { throw null; }
        public static FieldCodec<double> ForDouble(uint tag) { throw null; }
        public static FieldCodec<uint> ForFixed32(uint tag) { throw null; }
        public static FieldCodec<int> ForInt32(uint tag) { throw null; }
        public static FieldCodec<long> ForInt64(uint tag) { throw null; }
        public static FieldCodec<uint> ForUInt32(uint tag) { throw null; }
        public static FieldCodec<uint> ForUInt32(uint tag, uint defaultValue) { throw null; }
        public static FieldCodec<ulong> ForUInt64(uint tag) { throw null; }
        public static FieldCodec<ulong> ForUInt64(uint tag, ulong defaultValue) { throw null; }
        public static FieldCodec<T> ForMessage<T>(uint tag, MessageParser<T> parser) where T : IMessage<T> { throw null; }
        public static FieldCodec<T> ForEnum<T>(uint tag, Func<T, int> toInt, Func<int, T> fromInt) { throw null; }
    }
    public static class JsonFormatter { public static string ToDiagnosticString(IMessage message) { throw null; } }
    public static class ProtoPreconditions { public static T CheckNotNull<T>(T value, string name) where T : class { throw null; } }
}

namespace Google.Protobuf.Collections
{
    public sealed class RepeatedField<T> : IEnumerable<T>
    {
        public void AddEntriesFrom(CodedInputStream input, FieldCodec<T> codec) { }
        public void WriteTo(CodedOutputStream output, FieldCodec<T> codec) { }
        public int CalculateSize(FieldCodec<T> codec) { throw null; }
        public void Add(T item) { }
        public void Add(IEnumerable<T> values) { }
        public void AddRange(IEnumerable<T> values) { }
        public int Count { get { throw null; } }
        public T this[int index] { get { throw null; } set { } }
        public RepeatedField<T> Clone() { throw null; }
        public IEnumerator<T> GetEnumerator() { throw null; }
        System.Collections.IEnumerator System.Collections.IEnumerable.GetEnumerator() { throw null; }
    }
    public sealed class MapField<TKey, TValue>
    {
        public sealed class Codec { public Codec(FieldCodec<TKey> keyCodec, FieldCodec<TValue> valueCodec, uint mapTag) { } }
        public void AddEntriesFrom(CodedInputStream input, Codec codec) { }
        public void WriteTo(CodedOutputStream output, Codec codec) { }
        public int CalculateSize(Codec codec) { throw null; }
        public void Add(MapField<TKey, TValue> entries) { }
        public void MergeFrom(MapField<TKey, TValue> entries) { }
        public TValue this[TKey key] { get { throw null; } set { } }
        public MapField<TKey, TValue> Clone() { throw null; }
    }
    public static class ProtobufEqualityComparers
    {
        public static EqualityComparer<double> BitwiseDoubleEqualityComparer { get { throw null; } }
        public static EqualityComparer<float> BitwiseSingleEqualityComparer { get { throw null; } }
    }
}

namespace Google.Protobuf.Reflection
{
    public sealed class MessageDescriptor { public IList<MessageDescriptor> NestedTypes { get { throw null; } } }
    public sealed class FileDescriptor
    {
        public IList<MessageDescriptor> MessageTypes { get { throw null; } }
        public static FileDescriptor FromGeneratedCode(byte[] data, FileDescriptor[] dependencies, GeneratedClrTypeInfo info) { throw null; }
    }
    public sealed class Extension { }
    public sealed class GeneratedClrTypeInfo
    {
        public GeneratedClrTypeInfo(Type type, MessageParser parser, string[] properties, string[] oneofs, Type[] enums, Extension[] extensions, GeneratedClrTypeInfo[] nested) { }
        public GeneratedClrTypeInfo(Type[] enums, Extension[] extensions, GeneratedClrTypeInfo[] nested) { }
    }
    public sealed class OriginalNameAttribute : Attribute { public OriginalNameAttribute(string name) { } public bool PreferredAlias { get; set; } }
}

namespace Google.Protobuf.WellKnownTypes
{
    public abstract class Known<T> : IMessage<T> where T : IMessage<T>
    {
        public Reflection.MessageDescriptor Descriptor { get { throw null; } }
        public void MergeFrom(CodedInputStream input) { }
        public void WriteTo(CodedOutputStream output) { }
        public int CalculateSize() { throw null; }
        public void MergeFrom(T message) { }
        public T Clone() { throw null; }
        public bool Equals(T other) { throw null; }
    }
    public sealed class Any : Known<Any> { public static MessageParser<Any> Parser { get { throw null; } } public bool TryUnpack<T>(out T result) where T : IMessage, new() { throw null; } }
    public sealed class Duration : Known<Duration> { public static MessageParser<Duration> Parser { get { throw null; } } public TimeSpan ToTimeSpan() { throw null; } }
    public static class AnyReflection { public static Reflection.FileDescriptor Descriptor { get { throw null; } } }
    public static class DurationReflection { public static Reflection.FileDescriptor Descriptor { get { throw null; } } }
}

namespace Grpc.Core
{
    public sealed class Metadata { public byte[] GetValueBytes(string key) { throw null; } }
    public struct Status { public string Detail { get { throw null; } } }
    public class RpcException : Exception { public Metadata Trailers { get { throw null; } } public Status Status { get { throw null; } } }
    public abstract class ChannelBase { }
    public interface IAsyncStreamReader<T> { T Current { get; } Task<bool> MoveNext(CancellationToken cancellationToken); }
    public sealed class AsyncUnaryCall<T> { public System.Runtime.CompilerServices.TaskAwaiter<T> GetAwaiter() { throw null; } }
    public sealed class AsyncServerStreamingCall<T> : IDisposable { public IAsyncStreamReader<T> ResponseStream { get { throw null; } } public void Dispose() { } }
}

namespace Grpc.Net.Client
{
    public sealed class GrpcChannelOptions { public int? MaxReceiveMessageSize { get; set; } public int? MaxSendMessageSize { get; set; } public System.Net.Http.HttpMessageHandler HttpHandler { get; set; } }
    public sealed class GrpcChannel : Grpc.Core.ChannelBase, IDisposable { public static GrpcChannel ForAddress(string address, GrpcChannelOptions options) { throw null; } public void Dispose() { } }
}

namespace System.Net.Http
{
    public class HttpMessageHandler { }
    public sealed class SocketsHttpHandler : HttpMessageHandler { public TimeSpan KeepAlivePingDelay { get; set; } public TimeSpan KeepAlivePingTimeout { get; set; } public bool EnableMultipleHttp2Connections { get; set; } }
}

namespace Godot
{
    public class Node { public virtual void _Ready() { } public virtual void _ExitTree() { } public virtual void _Process(double delta) { } }
}

// As grpc_csharp_plugin makes it of ConsistencyService.
namespace Statemesh.V1
{
    public static class ConsistencyService
    {
        public class ConsistencyServiceClient
        {
            public ConsistencyServiceClient(Grpc.Core.ChannelBase channel) { }
            public Grpc.Core.AsyncUnaryCall<ExecuteResponse> ExecuteAsync(ExecuteRequest request, Grpc.Core.Metadata headers = null, DateTime? deadline = null, CancellationToken cancellationToken = default(CancellationToken)) { throw null; }
            public Grpc.Core.AsyncServerStreamingCall<SubscribeResponse> Subscribe(SubscribeRequest request, Grpc.Core.Metadata headers = null, DateTime? deadline = null, CancellationToken cancellationToken = default(CancellationToken)) { throw null; }
        }
    }
}
