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
        Option<string> device = TrainCommand.Add(command, "--device", $"Where to run: {string.Join(", ", Devices.Names)}.", Devices.Default);
        Option<string> precision = TrainCommand.AddPrecision(command);
        command.SetAction(result =>
        {
            TrainingOptions dense = new()
            {
                Data = "synthetic",
                Model = "resnet18",
                Width = 16,
                Epochs = 9,
                Batch = 64,
                Optimizer = "adam",
                LearningRate = 0.003,
                WeightDecay = 5e-4,
                Device = result.GetValue(device)!,
                Precision = TrainCommand.PrecisionOf(result, precision),
                Run = "demo-dense",
                CheckpointEvery = 100,
            };
            TrainingOptions pruned = dense with { Run = "demo-pruned", Pruning = new DemonPruningOptions { Lambda = 0.03, PruneEvery = 30 } };
            Console.WriteLine("Two runs of one network on the same images and seed: dense first, then with Demon Pruning.");
            RunSummary denseSummary = RunSession.Run(dense, FolderOf(dense), () => Create(dense), null, "dense ");
            RunSummary prunedSummary = RunSession.Run(pruned, FolderOf(pruned), () => Create(pruned), null, "pruned");
            HtmlReport.Write([RunFolder.Open(FolderOf(dense))]);
            string report = HtmlReport.Write([RunFolder.Open(FolderOf(dense)), RunFolder.Open(FolderOf(pruned))]);
            ProgressDisplay.WriteComparison("dense against pruned while training", [("dense", denseSummary), ("Demon Pruning", prunedSummary)]);
            Console.WriteLine($"Report: {report}");
            return 0;

            string FolderOf(TrainingOptions options) => Path.Combine(result.GetValue(runs)!, options.Run);
            RunFolder Create(TrainingOptions options) => RunFolder.Create(FolderOf(options), options, overwrite: true);
        });
        return command;
    }
}
