// A Godot node that talks to the mesh: calls start on the game thread and end there, and never hold it up (docs/engines.md).
using System;
using System.Collections.Concurrent;
using System.Diagnostics;
using System.Linq;
using System.Net.Http;
using System.Threading;
using System.Threading.Tasks;
using Godot;
using Google.Protobuf;
using Google.Rpc;
using Grpc.Core;
using Grpc.Net.Client;
using Statemesh.V1;

public partial class MeshNode : Node
{
    private const int UnderWayMax = 1024;
    /// Messages of a subscription that wait for the game thread; the mesh holds back and coalesces meanwhile.
    private const int QueuedMax = 256;

    private readonly ConcurrentQueue<Action> _game = new ConcurrentQueue<Action>();
    private readonly SemaphoreSlim _underWay = new SemaphoreSlim(UnderWayMax);
    private readonly CancellationTokenSource _stop = new CancellationTokenSource();
    private GrpcChannel _channel;
    private ConsistencyService.ConsistencyServiceClient _mesh;

    public override void _Ready()
    {
        _channel = GrpcChannel.ForAddress("http://10.0.0.11:7401", new GrpcChannelOptions
        {
            MaxReceiveMessageSize = 16 << 20,
            MaxSendMessageSize = 16 << 20,
            HttpHandler = new SocketsHttpHandler { KeepAlivePingDelay = TimeSpan.FromSeconds(20), KeepAlivePingTimeout = TimeSpan.FromSeconds(5), EnableMultipleHttp2Connections = true },
        });
        _mesh = new ConsistencyService.ConsistencyServiceClient(_channel);
    }

    public override void _ExitTree()
    {
        _stop.Cancel();
        _channel.Dispose();
    }

    public override void _Process(double delta)
    {
        // Half a millisecond a frame.
        long end = Stopwatch.GetTimestamp() + Stopwatch.Frequency / 2000;
        while (_game.TryDequeue(out Action task))
        {
            task();
            if (Stopwatch.GetTimestamp() >= end) break;
        }
    }

    /// Call on the game thread. False: the limit is reached, nothing was taken. `done` is called on the game thread, with a decision or an error.
    public bool Execute(Operation operation, Action<Decision, RpcException> done)
    {
        if (!_underWay.Wait(0)) return false;
        // Away from Godot's SynchronizationContext. Retries: as examples/python/mesh.py does them.
        _ = Task.Run(async () =>
        {
            Decision decision = null;
            RpcException error = null;
            try
            {
                ExecuteResponse response = await _mesh.ExecuteAsync(new ExecuteRequest { Operation = operation }, deadline: DateTime.UtcNow.AddSeconds(2), cancellationToken: _stop.Token);
                decision = response.Decision;
            }
            catch (RpcException thrown)
            {
                error = thrown;
            }
            finally
            {
                _underWay.Release();
            }
            _game.Enqueue(() => done(decision, error));
        });
        return true;
    }

    /// A wall that a player puts up. Keep the operation until it is decided: after OUTCOME_UNKNOWN the same one is sent again.
    public static Operation Wall(uint serverId, Region region, ulong epoch, string playerId, string structureId, Bounds bounds)
    {
        return new Operation
        {
            OperationId = Guid.NewGuid().ToString("N"),
            Type = "structure_placement",
            ServerId = serverId,
            HomeRegion = region,
            AuthorityEpoch = epoch,
            TimestampMs = DateTimeOffset.UtcNow.ToUnixTimeMilliseconds(),
            StructurePlacement = new StructurePlacement { StructureId = structureId, Kind = "wall", PlayerId = playerId, Bounds = bounds },
        };
    }

    /// What an error of the mesh says: `Reason` is for programs, such as FENCED; null where the transport failed, so that nobody knows what was done.
    public static ErrorInfo ReasonOf(RpcException error)
    {
        byte[] bytes = error.Trailers.GetValueBytes("grpc-status-details-bin");
        if (bytes == null) return null;
        foreach (var detail in Google.Rpc.Status.Parser.ParseFrom(bytes).Details)
        {
            if (detail.TryUnpack(out ErrorInfo info) && info.Domain == "statemesh") return info;
        }
        return null;
    }

    /// Follows regions until the node leaves the tree, across broken connections; `shown` is called on the game thread.
    public void Follow(Region[] regions, Action<SubscribeResponse> shown)
    {
        _ = Task.Run(async () =>
        {
            var request = new SubscribeRequest();
            request.Regions.AddRange(regions);
            while (!_stop.IsCancellationRequested)
            {
                try
                {
                    using (AsyncServerStreamingCall<SubscribeResponse> call = _mesh.Subscribe(request, cancellationToken: _stop.Token))
                    {
                        while (await call.ResponseStream.MoveNext(_stop.Token))
                        {
                            SubscribeResponse message = call.ResponseStream.Current;
                            while (_game.Count >= QueuedMax) await Task.Delay(5, _stop.Token);
                            _game.Enqueue(() => shown(message));
                            request.ResumeToken = message.ResumeToken;
                        }
                    }
                }
                catch (RpcException thrown)
                {
                    // Too far back, or of another cluster: from the beginning.
                    if (ReasonOf(thrown)?.Reason == "INVALID_RESUME_TOKEN") request.ResumeToken = "";
                }
                catch (OperationCanceledException)
                {
                    return;
                }
                await Task.Delay(200);
            }
        });
    }
}
