using System.CommandLine;
using Saturn.Kernels;
using Saturn.Training;
using Saturn.Training.Data;
using Saturn.Training.Lab;

namespace Saturn.Cli;

/// <summary><c>saturn lab noise</c>: how many units each kind of noise kills.</summary>
internal static class LabNoiseCommand
{
    public static Command Create()
    {
        NoiseExperimentOptions defaults = new();
        Command command = new("noise", "Dead units of a perceptron that is moved by the noise of SGD alone, or by Gaussian noise on live or on all weights.");
        Option<string> data = TrainCommand.Add(command, "--data", "Images: synthetic, mnist:FOLDER, cifar10:FOLDER or cifar100:FOLDER.", "synthetic");
        Option<string[]> sources = new("--source") { Description = "Which noise: sgd-noise, sgd, asymmetric, symmetric (default: all four).", AllowMultipleArgumentsPerToken = true };
        command.Options.Add(sources);
        Option<double[]> rates = new("--lr") { Description = "Learning rates (default: 0.01 and 0.05).", AllowMultipleArgumentsPerToken = true };
        command.Options.Add(rates);
        Option<int> steps = TrainCommand.Add(command, "--steps", "Steps of one image each; the paper's are 30,000.", defaults.Steps);
        Option<int> images = TrainCommand.Add(command, "--images", "Training images, on all of which a dead unit is silent.", defaults.Images);
        Option<int> fullEvery = TrainCommand.Add(command, "--full-gradient-every", "Steps from one full gradient to the next; 1 is exact.", defaults.FullGradientEvery);
        Option<int> every = TrainCommand.Add(command, "--every", "Steps from one count of the dead to the next.", defaults.CountEvery);
        Option<double?> noise = TrainCommand.Add<double?>(command, "--noise-std", "Standard deviation of Gaussian noise (default: lr times the root of lr).", null);
        Option<int> width = TrainCommand.Add(command, "--width", "Units of the first hidden layer; the second has a third.", defaults.Width);
        Option<ulong> seed = TrainCommand.Add<ulong>(command, "--seed", "Seed.", 0);
        Option<string> device = TrainCommand.Add(command, "--device", "Where to run.", Devices.Default);
        Option<string> output = TrainCommand.Add(command, "--out", "Folder that takes the page and the table.", "lab");
        command.SetAction(result =>
        {
            NoiseSource[] chosen = result.GetValue(sources) is { Length: > 0 } names ? [.. names.Select(Source)] : [NoiseSource.SgdNoise, NoiseSource.Sgd, NoiseSource.Asymmetric, NoiseSource.Symmetric];
            double[] chosenRates = result.GetValue(rates) is { Length: > 0 } given ? given : [0.01, 0.05];
            var (training, _) = DatasetSource.Open(result.GetValue(data)!, result.GetValue(images), null);
            using Device where = Devices.Open(result.GetValue(device)!, null);
            List<DeathCurve> curves = [];
            foreach (double rate in chosenRates)
            {
                foreach (NoiseSource source in chosen)
                {
                    NoiseExperimentOptions options = new()
                    {
                        Source = source,
                        LearningRate = rate,
                        NoiseStandardDeviation = result.GetValue(noise),
                        Steps = result.GetValue(steps),
                        FullGradientEvery = result.GetValue(fullEvery),
                        CountEvery = result.GetValue(every),
                        Images = training.Count,
                        Width = result.GetValue(width),
                        Seed = result.GetValue(seed),
                    };
                    using NoiseExperiment experiment = new(where, training, options);
                    curves.Add(experiment.Run());
                    string how = source == NoiseSource.SgdNoise ? $"a full gradient every {options.FullGradientEvery} steps"
                        : source is NoiseSource.Asymmetric or NoiseSource.Symmetric ? FormattableString.Invariant($"σ = {experiment.NoiseStandardDeviation:g3}") : "";
                    Console.WriteLine(LabCommand.Line(curves[^1]) + (how.Length > 0 ? $" ({how})" : ""));
                }
            }

            LabCommand.Write(result.GetValue(output)!, "noise", curves);
            return 0;
        });
        return command;
    }

    private static NoiseSource Source(string name) => name switch
    {
        "sgd" => NoiseSource.Sgd,
        "sgd-noise" => NoiseSource.SgdNoise,
        "asymmetric" => NoiseSource.Asymmetric,
        "symmetric" => NoiseSource.Symmetric,
        _ => throw new ArgumentException($"--source must be one of sgd-noise, sgd, asymmetric, symmetric, but is '{name}'."),
    };
}
