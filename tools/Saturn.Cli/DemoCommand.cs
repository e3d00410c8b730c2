using System.CommandLine;
using Saturn.Prune;
using Saturn.Training;
using Saturn.Training.Reports;
using Saturn.Training.Runs;

namespace Saturn.Cli;

/// <summary><c>saturn demo</c>: the same small network on the built-in images twice, dense and with Demon Pruning, and what that made of it.</summary>
internal static class DemoCommand
{
    public static Command Create()
    {
        Command command = new("demo", "Train a small network on built-in images, dense and with Demon Pruning, and compare the two. No download, no arguments.");
        Option<string> runs = TrainCommand.Add(command, "--runs", "Folder of all runs.", "runs");
        Option<string> device = TrainCommand.Add(command, "--device", $"Where to run: {string.Join(", ", Devices.Names)}.", "cpu");
        command.SetAction(result =>
        {
            TrainingOptions dense = new()
            {
                Data = "synthetic",
                Model = "resnet18",
                Width = 16,
                Epochs = 7,
                Batch = 64,
                Optimizer = "adam",
                LearningRate = 0.003,
                WeightDecay = 5e-4,
                Device = result.GetValue(device)!,
                Run = "demo-dense",
                CheckpointEvery = 100,
            };
            TrainingOptions pruned = dense with { Run = "demo-pruned", Pruning = new DemonPruningOptions { Lambda = 0.01, PruneEvery = 50 } };
            Console.WriteLine("Two runs of one network on the same images and seed: dense first, then with Demon Pruning.");
            RunFolder denseFolder = RunFolder.Create(Path.Combine(result.GetValue(runs)!, dense.Run), dense, overwrite: true);
            RunSummary denseSummary = RunSession.Run(dense, denseFolder, false, "dense ");
            RunFolder prunedFolder = RunFolder.Create(Path.Combine(result.GetValue(runs)!, pruned.Run), pruned, overwrite: true);
            RunSummary prunedSummary = RunSession.Run(pruned, prunedFolder, false, "pruned");
            HtmlReport.Write([denseFolder]);
            string report = HtmlReport.Write([denseFolder, prunedFolder]);
            ProgressDisplay.WriteComparison("dense against pruned while training", [("dense", denseSummary), ("Demon Pruning", prunedSummary)]);
            Console.WriteLine($"Report: {report}");
            return 0;
        });
        return command;
    }
}
