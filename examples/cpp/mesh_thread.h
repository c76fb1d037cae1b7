// StateMesh beside a game loop: a completion queue on a thread of its own, and answers handed to the game thread in a budget of time.
// Used by docs/engines.md; the tests compile it against the stubs of examples/stubs/cpp.gen.yaml.
#pragma once

#include <algorithm>
#include <chrono>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <google/rpc/error_details.pb.h>
#include <google/rpc/status.pb.h>
#include <grpcpp/alarm.h>
#include <grpcpp/grpcpp.h>
#include <statemesh/v1/consistency.grpc.pb.h>

namespace statemesh::game {

using Clock = std::chrono::steady_clock;
namespace v1 = statemesh::v1;

/// What became of an operation.
struct Answer {
  v1::Decision decision;      // set where `reason` is empty
  std::string reason;         // of ErrorInfo, such as FENCED; OUTCOME_UNKNOWN where the transport failed
  std::string current_epoch;  // for FENCED
  bool ok() const { return reason.empty(); }
};

/// What the game thread has to do, from other threads. Bounded: nobody posts more than it has calls under way.
class GameQueue {
 public:
  void Post(std::function<void()> task) {
    std::lock_guard<std::mutex> lock(mutex_);
    tasks_.push_back(std::move(task));
  }

  /// On the game thread, once a tick: runs what came, until `budget` is used up. What is left waits for the next tick.
  void Run(std::chrono::microseconds budget) {
    const Clock::time_point end = Clock::now() + budget;
    do {
      std::function<void()> task;
      {
        std::lock_guard<std::mutex> lock(mutex_);
        if (tasks_.empty()) return;
        task = std::move(tasks_.front());
        tasks_.pop_front();
      }
      task();
    } while (Clock::now() < end);
  }

 private:
  std::mutex mutex_;
  std::deque<std::function<void()>> tasks_;
};

/// Calls of a game server. `Execute` is for the game thread and never waits; `done` is called there too, by `game.Run`.
class MeshThread {
 public:
  static constexpr int kUnderWayMax = 1024;

  MeshThread(const std::vector<std::string>& endpoints, GameQueue& game) : game_(game) {
    for (const std::string& endpoint : endpoints) {
      stubs_.push_back(v1::ConsistencyService::NewStub(grpc::CreateChannel(endpoint, grpc::InsecureChannelCredentials())));
    }
    thread_ = std::thread([this] { Loop(); });
  }

  /// Waits for calls under way, 2 s at most. What is unanswered by then is told as OUTCOME_UNKNOWN with the next `game.Run`.
  ~MeshThread() {
    {
      std::lock_guard<std::mutex> lock(stop_mutex_);
      stopped_ = true;
      queue_.Shutdown();
    }
    thread_.join();
  }

  /// False: the limit of calls under way is reached, nothing was taken. Keep the operation for the next tick.
  bool Execute(const v1::Operation& operation, std::function<void(const Answer&)> done) {
    if (*under_way_ >= kUnderWayMax) return false;
    ++*under_way_;
    auto* call = new Call;
    *call->request.mutable_operation() = operation;
    call->done = std::move(done);
    call->end = Clock::now() + std::chrono::seconds(10);
    Start(call);
    return true;
  }

 private:
  struct Call {
    v1::ExecuteRequest request;
    v1::ExecuteResponse response;
    grpc::Status status;
    std::unique_ptr<grpc::ClientContext> context;
    std::unique_ptr<grpc::ClientAsyncResponseReader<v1::ExecuteResponse>> reader;
    grpc::Alarm alarm;
    std::function<void(const Answer&)> done;
    Clock::time_point end;
    std::size_t node = 0;
    int failures = 0;
    bool unknown = false;  // an attempt ended without an answer: it may have been done
    bool waiting = false;  // for its alarm
  };

  void Start(Call* call) {
    call->waiting = false;
    call->context = std::make_unique<grpc::ClientContext>();
    call->context->set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(2));
    call->reader = stubs_[call->node % stubs_.size()]->AsyncExecute(call->context.get(), call->request, &queue_);
    call->reader->Finish(&call->response, &call->status, call);
  }

  void Loop() {
    void* tag = nullptr;
    bool ok = false;
    while (queue_.Next(&tag, &ok)) {
      auto* call = static_cast<Call*>(tag);
      if (!call->waiting) {
        OnAnswer(call);
        continue;
      }
      std::lock_guard<std::mutex> lock(stop_mutex_);
      if (stopped_) Finish(call, Unknown());
      else Start(call);
    }
  }

  void OnAnswer(Call* call) {
    if (call->status.ok()) return Finish(call, Answer{call->response.decision(), "", ""});
    std::chrono::milliseconds delay(std::min(500, 20 << std::min(call->failures, 5)));
    const Answer refused = Read(call->status, delay);
    if (refused.reason == "OUTCOME_UNKNOWN") call->unknown = true;
    if (!Retryable(refused.reason) || Clock::now() + delay >= call->end) {
      // A later refusal does not prove that an earlier attempt was not accepted.
      return Finish(call, call->unknown ? Unknown() : refused);
    }
    std::lock_guard<std::mutex> lock(stop_mutex_);
    if (stopped_) return Finish(call, Unknown());
    if (refused.reason != "OVERLOADED" && refused.reason != "QUOTA_EXCEEDED") ++call->node;
    ++call->failures;
    call->waiting = true;
    call->alarm.Set(&queue_, std::chrono::system_clock::now() + delay, call);
  }

  static Answer Unknown() { return Answer{{}, "OUTCOME_UNKNOWN", ""}; }

  static bool Retryable(const std::string& reason) {
    static const std::vector<std::string> reasons = {
        "NO_QUORUM", "MINORITY_PARTITION", "NOT_LEADER", "SHUTTING_DOWN", "OVERLOADED", "QUOTA_EXCEEDED", "LOG_FULL", "STORE_UNAVAILABLE", "TOKEN_AHEAD", "TRANSACTION_PENDING", "ESCROW_NOT_READY", "OUTCOME_UNKNOWN",
    };
    return std::find(reasons.begin(), reasons.end(), reason) != reasons.end();
  }

  /// `delay` becomes the server's own word, where it gave one.
  static Answer Read(const grpc::Status& status, std::chrono::milliseconds& delay) {
    google::rpc::Status details;
    Answer answer = Unknown();
    if (!details.ParseFromString(status.error_details())) return answer;
    for (const auto& any : details.details()) {
      google::rpc::ErrorInfo info;
      google::rpc::RetryInfo retry;
      if (any.UnpackTo(&info) && info.domain() == "statemesh") {
        answer.reason = info.reason();
        const auto epoch = info.metadata().find("current_epoch");
        if (epoch != info.metadata().end()) answer.current_epoch = epoch->second;
      } else if (any.UnpackTo(&retry)) {
        delay = std::chrono::milliseconds(retry.retry_delay().seconds() * 1000 + retry.retry_delay().nanos() / 1000000);
      }
    }
    return answer;
  }

  void Finish(Call* call, Answer answer) {
    game_.Post([under_way = under_way_, done = std::move(call->done), answer = std::move(answer)] {
      --*under_way;
      done(answer);
    });
    delete call;
  }

  GameQueue& game_;
  std::vector<std::unique_ptr<v1::ConsistencyService::Stub>> stubs_;
  grpc::CompletionQueue queue_;
  std::thread thread_;
  std::mutex stop_mutex_;  // nothing is begun on a queue that is shut down
  bool stopped_ = false;
  const std::shared_ptr<int> under_way_ = std::make_shared<int>(0);  // counted by the game thread alone
};

}  // namespace statemesh::game
