// Builds one hut with the game loop of mesh_thread.h, in a region that nobody owns. The server must be registered.
//   hut HOST:PORT SERVER_ID
#include "mesh_thread.h"

#include <cstdlib>
#include <iostream>

int main(int argc, char** argv) {
  if (argc < 3) {
    std::cerr << "hut HOST:PORT SERVER_ID\n";
    return 2;
  }
  statemesh::game::GameQueue game;
  bool over = false;
  {
    statemesh::game::MeshThread mesh({argv[1]}, game);
    statemesh::v1::Operation operation;
    operation.set_operation_id("hut-" + std::to_string(std::chrono::system_clock::now().time_since_epoch().count()));
    operation.set_type("structure_placement");
    operation.set_server_id(static_cast<std::uint32_t>(std::atoi(argv[2])));
    operation.mutable_home_region()->set_x(130);
    auto* hut = operation.mutable_structure_placement();
    hut->set_structure_id(operation.operation_id());
    hut->set_kind("hut");
    auto* bounds = hut->mutable_bounds();
    bounds->set_min_x(260010);
    bounds->set_max_x(260014);
    bounds->set_max_y(3);
    bounds->set_max_z(4);
    mesh.Execute(operation, [&](const statemesh::game::Answer& answer) {
      std::cout << (answer.ok() ? statemesh::v1::Outcome_Name(answer.decision.outcome()) : answer.reason) << "\n";
      over = true;
    });
    while (!over) {
      game.Run(std::chrono::microseconds(500));
      std::this_thread::sleep_for(std::chrono::milliseconds(16));  // the rest of the tick
    }
  }
  return 0;
}
